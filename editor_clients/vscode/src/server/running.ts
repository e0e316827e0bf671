/** The program's own commands: in a terminal where a person is to see them, else their output alone. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import * as vscode from 'vscode';

const execute = promisify(execFile);

/** What a command prints. Raises an error with what it said where it fails. */
export async function output(command: string, args: readonly string[]): Promise<string> {
  const { stdout } = await execute(command, args, { maxBuffer: 1 << 24 });
  return stdout;
}

/** Run it in a terminal, where it can ask and be stopped; returns its exit status. */
export async function inTerminal(title: string, command: string, args: readonly string[]): Promise<number | undefined> {
  const execution = new vscode.ProcessExecution(command, [...args]);
  const task = new vscode.Task({ type: 'process' }, vscode.TaskScope.Workspace, title, 'Code Llama', execution, []);
  task.presentationOptions = { reveal: vscode.TaskRevealKind.Always, focus: true, clear: true };
  const running = await vscode.tasks.executeTask(task);
  return new Promise((resolve) => {
    const listening = vscode.tasks.onDidEndTaskProcess(({ execution: ended, exitCode }) => {
      if (ended !== running) return;
      listening.dispose();
      resolve(exitCode);
    });
  });
}
