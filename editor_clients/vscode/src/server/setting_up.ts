/** Set up the language server: ask first, show progress, stop on request. */
import * as vscode from 'vscode';
import type { Session } from '../session';
import { install, Stopped } from './installation';
import { isNewEnough, steps, type Source, type Step } from './installing';
import { output } from './running';

/** Ask the user, then install into `folder`, which belongs to the extension. */
export async function setUp(session: Session, folder: string): Promise<void> {
  const python = await findPython();
  const source = python ? await askSource() : undefined;
  if (!python || !source || !(await agreed(folder, source))) return;
  await done(session, folder, steps(python, folder, source));
}

/** Offer the set-up once per session. */
export async function offerSetUp(): Promise<void> {
  const text = 'Code Llama needs its language server, codellama-ls, which is not installed here.';
  const chosen = await vscode.window.showInformationMessage(text, 'Set Up…', 'Settings');
  if (chosen === 'Set Up…') await vscode.commands.executeCommand('codellama.setUp');
  if (chosen === 'Settings') await openSettings('codellama.server');
}

async function findPython(): Promise<string | undefined> {
  const python = settings().get<string>('python', '') || 'python3';
  const version = await output(python, ['--version']).catch(() => '');
  if (isNewEnough(version)) return python;
  const found = version ? `'${python}' is ${version.trim()}` : `there is no '${python}'`;
  const text = `Code Llama needs Python 3.11 or newer, and ${found}: set codellama.server.python to one.`;
  if (await vscode.window.showErrorMessage(text, 'Settings')) await openSettings('codellama.server.python');
  return undefined;
}

async function askSource(): Promise<Source | undefined> {
  const what = settings().get<string>('package', '');
  const kinds = [
    ...(what ? [{ label: what, description: 'codellama.server.package', from: 'setting' as const }] : []),
    { label: 'From a folder with its source…', description: 'packages it needs come from PyPI', from: 'source' as const },
    { label: 'From a wheel…', description: 'packages it needs come from PyPI', from: 'wheel' as const },
    { label: 'From a folder of wheels…', description: 'all of them; no network is used', from: 'wheels' as const },
  ];
  const chosen = await vscode.window.showQuickPick(kinds, { title: 'Code Llama: set up the language server' });
  if (!chosen || chosen.from === 'setting') return chosen && { what };
  const path = await askPath(chosen.from);
  if (!path) return undefined;
  return chosen.from === 'wheels' ? { what: 'codellama-ls', wheels: path } : { what: path };
}

async function askPath(kind: 'source' | 'wheel' | 'wheels'): Promise<string | undefined> {
  const files = kind === 'wheel';
  const filters = files ? { filters: { Wheels: ['whl'] } } : {};
  const options = { canSelectFiles: files, canSelectFolders: !files, canSelectMany: false, ...filters };
  return (await vscode.window.showOpenDialog(options))?.[0]?.fsPath;
}

async function agreed(folder: string, source: Source): Promise<boolean> {
  const traffic = source.wheels
    ? 'Nothing is downloaded.'
    : 'On Linux, PyPI serves torch with CUDA: expect some gigabytes to be downloaded.';
  const detail = `'${source.what}' is installed with pip into an environment of its own, ${folder}. ${traffic}`;
  const options = { modal: true, detail };
  return (await vscode.window.showInformationMessage('Set up the language server?', options, 'Set Up')) === 'Set Up';
}

/** Run the agreed set-up, and again if it failed and the user wants a retry. */
async function done(session: Session, folder: string, all: readonly Step[]): Promise<void> {
  await session.stop();
  const failure = await shown(session, folder, all);
  await session.restart();
  if (failure instanceof Stopped) void vscode.window.showInformationMessage('Code Llama: the set-up was cancelled.');
  else if (failure) await tellFailure(session, failure, () => done(session, folder, all));
  else tellOther(session);
}

/** Install with progress; return the error, if any. */
async function shown(session: Session, folder: string, all: readonly Step[]): Promise<Error | undefined> {
  const options = { location: vscode.ProgressLocation.Notification, title: 'Code Llama', cancellable: true };
  return vscode.window.withProgress(options, async (progress, token) => {
    const stopping = new AbortController();
    token.onCancellationRequested(() => {
      stopping.abort();
    });
    const tell = (message: string): void => {
      progress.report({ message });
    };
    const log = (line: string): void => {
      session.log.info(line);
    };
    return install(all, folder, { signal: stopping.signal, tell, log }).then(
      () => undefined,
      (error: unknown) => error as Error,
    );
  });
}

async function tellFailure(session: Session, failure: Error, again: () => Promise<void>): Promise<void> {
  const text = `Code Llama: the set-up failed. ${failure.message}`;
  const chosen = await vscode.window.showErrorMessage(text, 'Try Again', 'Show Log');
  if (chosen === 'Try Again') await again();
  if (chosen === 'Show Log') session.log.show();
}

/** Tell the user if the setting or PATH takes precedence over the new installation. */
function tellOther({ found }: Session): void {
  if (!found || found.from === 'own') return;
  const why = found.from === 'setting' ? 'codellama.server.path names it' : 'it is on PATH';
  void vscode.window.showInformationMessage(`Code Llama is set up, but ${found.command} is used, as ${why}.`);
}

async function openSettings(query: string): Promise<void> {
  await vscode.commands.executeCommand('workbench.action.openSettings', query);
}

function settings(): vscode.WorkspaceConfiguration {
  return vscode.workspace.getConfiguration('codellama.server');
}
