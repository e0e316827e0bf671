/** Run the steps of an installation. If one fails or is cancelled, the previous folder is restored. Independent of VS Code. */
import { spawn, type ChildProcess } from 'node:child_process';
import { rename, rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { NEUTRAL_FOLDER } from './finding';
import { progress, reason, type Step } from './installing';

export interface Watcher {
  /** Aborted when the user cancels. */
  readonly signal: AbortSignal;
  /** Called with each line that a step prints. */
  readonly log: (line: string) => void;
  /** Called with the current step. */
  readonly tell: (text: string) => void;
}

/** The user cancelled the installation. */
export class Stopped extends Error {}

const ALL = { recursive: true, force: true, maxRetries: 3 } as const;

/** Run all steps. Throws Stopped, or an error with the reason. */
export async function install(all: readonly Step[], folder: string, watcher: Watcher): Promise<void> {
  const before = `${folder}.before`;
  await rm(before, ALL);
  await moved(folder, before);
  try {
    for (const step of all) await run(step, watcher);
  } catch (error) {
    await rm(folder, ALL);
    await moved(before, folder);
    throw error;
  }
  await rm(before, ALL);
}

/** Move a previous environment aside. It works only at its original path, so it is moved back there if a step fails. */
async function moved(from: string, to: string): Promise<void> {
  await rename(from, to).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  });
}

function run(step: Step, { signal, log, tell }: Watcher): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) throw new Stopped();
    tell(step.says);
    const running = spawn(step.command, step.args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, cwd: NEUTRAL_FOLDER });
    const said: string[] = [];
    for (const stream of [running.stdout, running.stderr]) {
      createInterface(stream).on('line', (line) => {
        log(line);
        said.push(line);
        const text = progress(line);
        if (text) tell(text);
      });
    }
    const stop = (): void => {
      end(running);
    };
    signal.addEventListener('abort', stop);
    running.on('error', reject);
    running.on('close', (status) => {
      signal.removeEventListener('abort', stop);
      if (signal.aborted) reject(new Stopped());
      else if (status === 0) resolve();
      else reject(new Error(reason(said)));
    });
  });
}

/** Kill the step and its children, which would go on writing into the folder: they form a process group. */
function end(running: ChildProcess): void {
  try {
    if (running.pid) process.kill(-running.pid);
  } catch {
    // already ended
  }
}
