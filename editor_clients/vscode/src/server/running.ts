/** Run the program's commands, in a terminal or for their output. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import * as vscode from 'vscode';
import { NEUTRAL_FOLDER, PROGRAM } from './finding';

const execute = promisify(execFile);

/** Return the output of a command. Throws an error with its message if it fails. */
export async function output(command: string, args: readonly string[]): Promise<string> {
  const { stdout } = await execute(command, args, { maxBuffer: 1 << 24, cwd: NEUTRAL_FOLDER });
  return stdout;
}

/** Run a command in a terminal, where it can ask and be stopped; return its exit status. Throws if VS Code opens terminals
 * only in trusted folders. */
export async function inTerminal(title: string, command: string, args: readonly string[]): Promise<number | undefined> {
  if (!vscode.workspace.isTrusted) {
    const line = [PROGRAM, ...args].join(' ');
    throw new Error(`in a folder that you don't trust VS Code opens no terminal; run '${line}' in another window, or by hand.`);
  }
  const execution = new vscode.ProcessExecution(command, [...args], { cwd: NEUTRAL_FOLDER });
  const task = new vscode.Task({ type: 'process' }, vscode.TaskScope.Workspace, title, 'Code Llama', execution, []);
  task.presentationOptions = { reveal: vscode.TaskRevealKind.Always, focus: true, clear: true };
  // Listen before the start: a quick command ends before its start is reported.
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
