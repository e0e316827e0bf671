/** The commands of the palette and the status bar's menu, by name. What they do is other modules' affair. */
import * as vscode from 'vscode';
import type { Session } from './session';
import type { Suggestions } from './suggestions';
import type { Toggle } from './toggle';

type Handler = (...args: never[]) => unknown;

export function registerCommands(session: Session, toggle: Toggle, suggestions: Suggestions): vscode.Disposable {
  const handlers: Record<string, Handler> = {
    toggle: () => toggle.choose(),
    restart: () => session.restart(),
    logs: () => {
      session.log.show();
    },
    acceptWord: () => suggestions.acceptPart('editor.action.inlineSuggest.acceptNextWord'),
    acceptLine: () => suggestions.acceptPart('editor.action.inlineSuggest.acceptNextLine'),
  };
  const registered = Object.entries(handlers).map(([name, handler]) =>
    vscode.commands.registerCommand(`codellama.${name}`, handler),
  );
  return vscode.Disposable.from(...registered);
}
