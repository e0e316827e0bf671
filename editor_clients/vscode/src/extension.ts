/** Activation: create the parts in order. */
import { join } from 'node:path';
import * as vscode from 'vscode';
import { adviseAboutList } from './advice';
import { ChatModel } from './chat/model';
import { registerParticipant } from './chat/participant';
import { registerCommands } from './commands';
import { registerEdits } from './edits/commands';
import { Drawing } from './edits/drawing';
import { Edits } from './edits/edits';
import { Figures } from './figures';
import { Pages } from './pages';
import { offerSetUp } from './server/setting_up';
import { Session } from './session';
import { NEEDS_RESTART } from './settings';
import { statusBar } from './status_bar';
import { Suggestions } from './suggestions';
import { Toggle } from './toggle';

/** The API for other extensions: the language server's custom requests. */
export interface Api {
  request(method: string, params: object): Promise<unknown>;
}

let session: Session | undefined;

export async function activate(context: vscode.ExtensionContext): Promise<Api> {
  const ownFolder = join(context.globalStorageUri.fsPath, 'server');
  const started = new Session(ownFolder);
  session = started;
  const toggle = new Toggle(context.workspaceState);
  const suggestions = new Suggestions(started, toggle);
  const figures = new Figures(started);
  const pages = new Pages();
  const edits = new Edits(started);
  started.middleware = suggestions.middleware();
  context.subscriptions.push(
    ...[started, toggle, figures, pages, edits, new Drawing(edits), new ChatModel(started)],
    statusBar(started, toggle, figures),
    registerCommands({ session: started, toggle, suggestions, pages, ownFolder }),
    registerEdits(edits),
    registerParticipant(started),
    vscode.workspace.onDidChangeConfiguration((change) => {
      if (NEEDS_RESTART.some((section) => change.affectsConfiguration(section))) void started.restart();
      else if (change.affectsConfiguration('codellama')) started.configure();
    }),
    started.onDidChange(() => void tellContext(started)),
  );
  await started.restart();
  if (started.status.phase === 'missing') void offerSetUp();
  void adviseAboutList(context.globalState);
  return { request: (method, params) => started.request(method, params) };
}

export async function deactivate(): Promise<void> {
  await session?.stop();
}

/** Set the context keys that complete the walkthrough's steps. */
async function tellContext({ started, status: { phase } }: Session): Promise<void> {
  await vscode.commands.executeCommand('setContext', 'codellama.running', started);
  await vscode.commands.executeCommand('setContext', 'codellama.ready', phase === 'ready' || phase === 'idle');
}
