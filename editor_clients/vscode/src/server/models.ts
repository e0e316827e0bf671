/** Choose a model, and pull one. */
import * as vscode from 'vscode';
import type { Session } from '../session';
import { choices, type Model, type Role } from './catalogue';
import { inTerminal, output } from './running';

const SETTINGS: Record<Role, string> = { completion: 'model', chat: 'chatModel' };

/** Ask for the role and the model, pull it if it is not installed, and restart the engine with it. */
export async function chooseModel(session: Session): Promise<void> {
  const role = await askRole();
  if (!role) return;
  const model = await askModel(session, role, 'Which model?');
  if (!model || (!model.installed && !(await fetched(session, model.id)))) return;
  await use(session, role, model.id);
}

/** Pull a model, then offer to use it. */
export async function pullModel(session: Session): Promise<void> {
  const model = await askModel(session, 'completion', 'Which model to pull?');
  if (!model || !(await fetched(session, model.id))) return;
  const used = settings().get<string>('model') === model.id;
  const chosen = used ? 'Use It' : await vscode.window.showInformationMessage(`${model.title} is installed.`, 'Use It');
  if (chosen) await use(session, 'completion', model.id);
}

async function askRole(): Promise<Role | undefined> {
  const chat = settings().get<string>('chatModel', '');
  const items = [
    { label: 'Suggestions', description: settings().get<string>('model', ''), role: 'completion' as const },
    { label: 'Chat and edits', description: chat || 'the same', role: 'chat' as const },
  ];
  return (await vscode.window.showQuickPick(items, { title: 'Code Llama: choose the model for …' }))?.role;
}

async function askModel(session: Session, role: Role, title: string): Promise<Model | undefined> {
  const current = settings().get<string>(SETTINGS[role], '');
  const listed = output(program(session), ['models', '--json']).then((said) => choices(JSON.parse(said) as Model[], role, current));
  const options = { title, matchOnDescription: true, placeHolder: 'Models that fit this machine' };
  return (await vscode.window.showQuickPick(listed, options))?.model;
}

/** Pull in a terminal, which shows progress and the licence to accept. */
async function fetched(session: Session, id: string): Promise<boolean> {
  return (await inTerminal(`Fetch ${id}`, program(session), ['pull', id])) === 0;
}

/** Stop the running engine, which would keep its current model. */
async function use(session: Session, role: Role, id: string): Promise<void> {
  await vscode.window.withProgress({ location: vscode.ProgressLocation.Window, title: `Code Llama: ${id}` }, async () => {
    const command = program(session);
    await session.stop();
    await output(command, ['engine', 'stop']).catch((error: unknown) => {
      session.log.warn(String(error));
    });
    if (settings().get(SETTINGS[role]) === id) await session.restart();
    else await settings().update(SETTINGS[role], id, vscode.ConfigurationTarget.Global); // restarts the server
  });
}

function settings(): vscode.WorkspaceConfiguration {
  return vscode.workspace.getConfiguration('codellama.engine');
}

function program(session: Session): string {
  if (!session.found) throw new Error('The language server is not installed. Run "Code Llama: Set Up the Language Server" first.');
  return session.found.command;
}
