/** Setting up the language server: asked first, shown while it is done, stopped on request, and nothing half left. */
import { spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import * as vscode from 'vscode';
import type { Session } from '../session';
import { isNewEnough, progress, steps, type Source, type Step } from './installing';
import { output } from './running';

/** Whatever a pip that fails prints last; more of it is in the log. */
const TOLD_LINES = 3;

/** Ask, and set it up in `folder`, which is ours. */
export async function setUp(session: Session, folder: string): Promise<void> {
  const python = await findPython();
  const source = python ? await askSource() : undefined;
  if (!python || !source || !(await agreed(folder, source))) return;
  await session.stop();
  try {
    await done(session, steps(python, folder, source));
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    void vscode.window.showErrorMessage(`Code Llama: the set-up ended. ${(error as Error).message}`);
  }
  await session.restart();
}

/** Offer it once in this window. */
export async function offerSetUp(): Promise<void> {
  const text = 'Code Llama needs its language server, codellama-ls, which is not installed here.';
  const chosen = await vscode.window.showInformationMessage(text, 'Set Up…', 'Settings');
  if (chosen === 'Set Up…') await vscode.commands.executeCommand('codellama.setUp');
  if (chosen === 'Settings') await vscode.commands.executeCommand('workbench.action.openSettings', 'codellama.server');
}

async function findPython(): Promise<string | undefined> {
  const python = settings().get<string>('python', '') || 'python3';
  const version = await output(python, ['--version']).catch(() => '');
  if (isNewEnough(version)) return python;
  const found = version ? `'${python}' is ${version.trim()}` : `there is no '${python}'`;
  void vscode.window.showErrorMessage(
    `Code Llama needs Python 3.11 or newer, and ${found}: set codellama.server.python to one.`,
  );
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

async function done(session: Session, all: readonly Step[]): Promise<void> {
  const options = { location: vscode.ProgressLocation.Notification, title: 'Code Llama', cancellable: true };
  await vscode.window.withProgress(options, async (shown, token) => {
    for (const step of all) {
      shown.report({ message: step.says });
      await run(session, step, token, (line) => {
        const said = progress(line);
        if (said) shown.report({ message: said });
      });
    }
  });
}

/** Raises an error with the last that it said where it fails or is stopped. */
function run(session: Session, step: Step, token: vscode.CancellationToken, tell: (line: string) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const running = spawn(step.command, step.args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const told: string[] = [];
    for (const stream of [running.stdout, running.stderr]) {
      createInterface(stream).on('line', (line) => {
        session.log.info(line);
        told.push(line);
        tell(line);
      });
    }
    token.onCancellationRequested(() => running.kill());
    running.on('error', reject);
    running.on('close', (status) => {
      if (status === 0) resolve();
      else reject(new Error(token.isCancellationRequested ? 'It was stopped.' : told.slice(-TOLD_LINES).join(' ')));
    });
  });
}

function settings(): vscode.WorkspaceConfiguration {
  return vscode.workspace.getConfiguration('codellama.server');
}
