/** What is made when VS Code starts us, and in which order. */
import { join } from 'node:path';
import * as vscode from 'vscode';
import { registerCommands } from './commands';
import { Figures } from './figures';
import { Session } from './session';
import { NEEDS_RESTART } from './settings';
import { statusBar } from './status_bar';
import { Suggestions } from './suggestions';
import { Toggle } from './toggle';

let session: Session | undefined;

/** What this extension gives to others: the language server's own requests. */
export interface Api {
  request(method: string, params: object): Promise<unknown>;
}

export async function activate(context: vscode.ExtensionContext): Promise<Api> {
  const started = new Session(join(context.globalStorageUri.fsPath, 'server'));
  session = started;
  const toggle = new Toggle(context.workspaceState);
  const suggestions = new Suggestions(started, toggle);
  const figures = new Figures(started);
  started.middleware = suggestions.middleware();
  context.subscriptions.push(
    started,
    toggle,
    figures,
    statusBar(started, toggle, figures),
    registerCommands(started, toggle, suggestions),
    vscode.workspace.onDidChangeConfiguration((change) => {
      if (NEEDS_RESTART.some((section) => change.affectsConfiguration(section))) void started.restart();
      else if (change.affectsConfiguration('codellama')) started.configure();
    }),
  );
  await started.restart();
  return { request: (method, params) => started.request(method, params) };
}

export async function deactivate(): Promise<void> {
  await session?.stop();
}
