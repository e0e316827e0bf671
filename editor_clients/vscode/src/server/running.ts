/** The program's own commands: in a terminal where a person is to see them, else their output alone. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import * as vscode from 'vscode';
import { NEUTRAL_FOLDER, PROGRAM } from './finding';

const execute = promisify(execFile);

/** What a command prints. Raises an error with what it said where it fails. */
export async function output(command: string, args: readonly string[]): Promise<string> {
  const { stdout } = await execute(command, args, { maxBuffer: 1 << 24, cwd: NEUTRAL_FOLDER });
  return stdout;
}

/** Run it in a terminal, where it can ask and be stopped; returns its exit status. Raises an error for the person where
 * VS Code would open one only if they trusted the folder, which has nothing to do with it. */
export async function inTerminal(title: string, command: string, args: readonly string[]): Promise<number | undefined> {
  if (!vscode.workspace.isTrusted) {
    const line = [PROGRAM, ...args].join(' ');
    throw new Error(`in a folder that you don't trust VS Code opens no terminal; run '${line}' in another window, or by hand.`);
  }
  const execution = new vscode.ProcessExecution(command, [...args], { cwd: NEUTRAL_FOLDER });
  const task = new vscode.Task({ type: 'process' }, vscode.TaskScope.Workspace, title, 'Code Llama', execution, []);
  task.presentationOptions = { reveal: vscode.TaskRevealKind.Always, focus: true, clear: true };
  // Listened to before it begins: what is quick has ended by the time that one is told that it runs.
  let listening: vscode.Disposable | undefined;
  const ended = new Promise<number | undefined>((resolve) => {
    listening = vscode.tasks.onDidEndTaskProcess(({ execution: { task: one }, exitCode }) => {
      if (one.name === title && one.source === task.source) resolve(exitCode);
    });
  });
  try {
    await vscode.tasks.executeTask(task);
    return await ended;
  } finally {
    listening?.dispose();
  }
}
