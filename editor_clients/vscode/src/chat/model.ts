/** Code Llama as one of VS Code's language models, for its chat and for other extensions. */
import * as vscode from 'vscode';
import type { Session } from '../session';
import { roughTokens } from './message';

interface Known {
  readonly model: string;
  readonly context: number | null;
  readonly maxTokens: number;
}

/** Assumed context length in tokens while the server cannot report it, for example with unloaded weights. */
const USUAL_CONTEXT = 4096;

const ROLES: Readonly<Record<number, string>> = {
  [vscode.LanguageModelChatMessageRole.User]: 'user',
  [vscode.LanguageModelChatMessageRole.Assistant]: 'assistant',
};

export class ChatModel implements vscode.LanguageModelChatProvider, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<void>();
  readonly onDidChangeLanguageModelChatInformation = this.changed.event;
  private readonly registered: vscode.Disposable;
  private model = '';

  constructor(private readonly session: Session) {
    this.registered = vscode.Disposable.from(
      vscode.lm.registerLanguageModelChatProvider('codellama', this),
      session.onDidChange(() => {
        const { chat_model: model } = session.status;
        if (model !== this.model) this.changed.fire();
        this.model = model;
      }),
    );
  }

  async provideLanguageModelChatInformation(): Promise<vscode.LanguageModelChatInformation[]> {
    const known = await this.known();
    if (!known?.model) return [];
    const context = known.context ?? USUAL_CONTEXT;
    return [
      {
        id: known.model,
        name: known.model,
        family: 'codellama',
        version: '1',
        detail: 'on this machine',
        maxInputTokens: Math.max(context - known.maxTokens, 1),
        maxOutputTokens: known.maxTokens,
        capabilities: {},
      },
    ];
  }

  async provideLanguageModelChatResponse(
    _model: vscode.LanguageModelChatInformation,
    messages: readonly vscode.LanguageModelChatRequestMessage[],
    _options: vscode.ProvideLanguageModelChatResponseOptions,
    progress: vscode.Progress<vscode.LanguageModelResponsePart>,
    token: vscode.CancellationToken,
  ): Promise<void> {
    const said = messages.map((one) => ({ role: ROLES[one.role] ?? 'system', content: text(one) }));
    const tell = (part: unknown): void => {
      progress.report(new vscode.LanguageModelTextPart((part as { text: string }).text));
    };
    await this.session.stream('codellama/answer', { messages: said }, tell, token);
  }

  provideTokenCount(_: vscode.LanguageModelChatInformation, of: string | vscode.LanguageModelChatRequestMessage): Promise<number> {
    return Promise.resolve(roughTokens(typeof of === 'string' ? of : text(of)));
  }

  dispose(): void {
    this.registered.dispose();
    this.changed.dispose();
  }

  private async known(): Promise<Known | undefined> {
    try {
      return await this.session.request<Known>('codellama/answer/model', {});
    } catch {
      return undefined; // no server, no model
    }
  }
}

function text(message: vscode.LanguageModelChatRequestMessage): string {
  return message.content.map((part) => (part instanceof vscode.LanguageModelTextPart ? part.value : '')).join('');
}
