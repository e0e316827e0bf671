/** Inline suggestions. VS Code and the language client request and draw them. This module switches them off by file, counts
 * requests for the status bar, and reports what was shown and accepted. */
import * as vscode from 'vscode';
import type { Middleware } from 'vscode-languageclient/node';
import type { Session } from './session';
import type { Toggle } from './toggle';

/** The command of the server's items. VS Code runs it after an item was accepted; its argument is the item's id. */
const ACCEPTED = 'codellama.accepted';

interface Latest {
  readonly id: string;
  readonly uri: string;
}

export class Suggestions {
  private latest: Latest | undefined;

  constructor(
    private readonly session: Session,
    private readonly toggle: Toggle,
  ) {}

  middleware(): Middleware {
    return {
      provideInlineCompletionItems: async (document, position, context, token, next) => {
        if (this.toggle.fileOff(document)) return [];
        const found = await this.session.counted(async () => next(document, position, context, token));
        if (!token.isCancellationRequested) this.show(document, found);
        return found;
      },
      executeCommand: (command, args: unknown[], next) => {
        if (command !== ACCEPTED) return next(command, args) as unknown;
        this.session.notify('codellama/didAccept', { id: args[0] });
        this.latest = undefined;
        return undefined;
      },
    };
  }

  /** Run VS Code's command for a word or a line, and report it to the server after the document has changed. */
  async acceptPart(command: string): Promise<void> {
    const { latest } = this;
    const document = vscode.window.activeTextEditor?.document;
    const version = document?.version;
    await vscode.commands.executeCommand(command);
    if (latest && document && document.uri.toString() === latest.uri && document.version !== version) {
      this.session.notify('codellama/didPartiallyAccept', { id: latest.id });
    }
  }

  /** Report the first item, which VS Code draws. VS Code does not tell extensions which alternatives the user views. */
  private show(
    document: vscode.TextDocument,
    found: vscode.InlineCompletionItem[] | vscode.InlineCompletionList | null | undefined,
  ): void {
    const items = Array.isArray(found) ? found : found?.items;
    const id: unknown = items?.[0]?.command?.arguments?.[0];
    this.latest = typeof id === 'string' ? { id, uri: document.uri.toString() } : undefined;
    if (this.latest) this.session.notify('codellama/didShow', { id: this.latest.id });
  }
}
