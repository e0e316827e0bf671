/** Open the chat for a range: from the server's *Explain*, the editor's menu or the palette. */
import * as vscode from 'vscode';
import { asRange } from '../edits/drawing';
import type { Span } from '../edits/hunks';

const VENDOR = 'codellama';

/** Arguments of the server's code action. */
interface About {
  readonly uri: string;
  readonly range: Span;
  readonly prompt?: string;
}

export async function openChat(about?: About): Promise<void> {
  if (typeof about?.uri === 'string') {
    const editor = await vscode.window.showTextDocument(vscode.Uri.parse(about.uri));
    const range = asRange(about.range);
    editor.selection = new vscode.Selection(range.start, range.end);
  }
  const query = `@codellama ${about?.prompt ?? ''}`;
  const options = { query, isPartialQuery: !about?.prompt, ...(await selection()) };
  await vscode.commands.executeCommand('workbench.action.chat.open', options);
}

/** VS Code lets no participant respond without a selected model. If ours is the only one, select it. */
async function selection(): Promise<object> {
  const models = await vscode.lm.selectChatModels({});
  return models.length > 0 && models.every((model) => model.vendor === VENDOR) ? { modelSelector: { vendor: VENDOR } } : {};
}
