/** The commands of the palette and the status bar's menu. */
import * as vscode from 'vscode';
import { writeCommitMessage } from './commit';
import { openChat } from './chat/open';
import type { Pages } from './pages';
import { chooseModel, pullModel } from './server/models';
import { inTerminal, output } from './server/running';
import { setUp } from './server/setting_up';
import type { Session } from './session';
import { told, type Handler } from './told';
import { statisticsPage, type Statistics } from './statistics';
import type { Suggestions } from './suggestions';
import type { Toggle } from './toggle';
import { explained, page, type Trace } from './why';

export interface Parts {
  readonly session: Session;
  readonly toggle: Toggle;
  readonly suggestions: Suggestions;
  readonly pages: Pages;
  /** The folder of the set-up's virtual environment. */
  readonly ownFolder: string;
}

/** The menu's commands, in order. */
const MENU: readonly (readonly [string, string])[] = [
  ['toggle', '$(circle-slash) Switch suggestions on or off…'],
  ['why', '$(question) Why no suggestion?'],
  ['editWithInstruction', '$(edit) Edit with instruction…'],
  ['openChat', '$(comment-discussion) Ask in chat'],
  ['chooseModel', '$(server-environment) Choose model…'],
  ['pullModel', '$(cloud-download) Pull model…'],
  ['stats', '$(graph) Statistics'],
  ['doctor', '$(pulse) Run the doctor'],
  ['restart', '$(debug-restart) Restart the language server'],
  ['logs', '$(output) Log'],
  ['engineLogs', '$(output) Log of the engine'],
  ['setUp', '$(tools) Set up the language server…'],
];

export function registerCommands(parts: Parts): vscode.Disposable {
  const registered = Object.entries(handlers(parts)).map(([name, handler]) =>
    vscode.commands.registerCommand(`codellama.${name}`, told(handler)),
  );
  return vscode.Disposable.from(...registered);
}

function handlers(parts: Parts): Record<string, Handler> {
  const { session, suggestions, pages } = parts;
  return {
    menu,
    toggle: () => parts.toggle.choose(),
    why: () => why(session, pages),
    restart: () => session.restart(),
    setUp: () => setUp(session, parts.ownFolder),
    chooseModel: () => chooseModel(session),
    pullModel: () => pullModel(session),
    openChat,
    commitMessage: (source?: vscode.SourceControl) => writeCommitMessage(session, source),
    logs: () => {
      session.log.show();
    },
    engineLogs: async () => pages.show('Log of the engine', fenced(await output(program(session), ['engine', 'logs', '-n', '200']))),
    stats: async () => {
      const found = await session.request<Statistics>('codellama/stats', {});
      await pages.show('Statistics', statisticsPage(found));
    },
    doctor: () => inTerminal('Doctor', program(session), ['doctor']),
    acceptWord: () => suggestions.acceptPart('editor.action.inlineSuggest.acceptNextWord'),
    acceptLine: () => suggestions.acceptPart('editor.action.inlineSuggest.acceptNextLine'),
  };
}

async function menu(): Promise<void> {
  const items = MENU.map(([name, label]) => ({ label, name }));
  const chosen = await vscode.window.showQuickPick(items, { title: 'Code Llama' });
  if (chosen) await vscode.commands.executeCommand(`codellama.${chosen.name}`);
}

async function why(session: Session, pages: Pages): Promise<void> {
  const records = await session.request<Trace[]>('codellama/trace', {});
  const uri = vscode.window.activeTextEditor?.document.uri.toString() ?? '';
  const chosen = await vscode.window.showInformationMessage(explained(records, uri), 'All Requests', 'Run the Doctor');
  if (chosen === 'All Requests') await pages.show('Requests', page(records));
  if (chosen === 'Run the Doctor') await vscode.commands.executeCommand('codellama.doctor');
}

function program(session: Session): string {
  if (!session.found) throw new Error('The language server is not installed. Run "Code Llama: Set Up the Language Server" first.');
  return session.found.command;
}

function fenced(text: string): string {
  return `# Log of the engine\n\n\`\`\`\`\n${text}\n\`\`\`\`\n`;
}
