/** Runs the steps of an installation. What stood in its folder before is put back where one fails or is stopped. Knows
 * no VS Code. */
import { spawn, type ChildProcess } from 'node:child_process';
import { rename, rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { NEUTRAL_FOLDER } from './finding';
import { progress, reason, type Step } from './installing';

export interface Watcher {
  /** Aborted by a person who wants it stopped. */
  readonly signal: AbortSignal;
  /** Each line that a step prints. */
  readonly log: (line: string) => void;
  /** What is being done, in a few words. */
  readonly tell: (text: string) => void;
}

/** A person stopped it. */
export class Stopped extends Error {}

const ALL = { recursive: true, force: true, maxRetries: 3 } as const;

/** Raises Stopped, or an error that says why it failed. */
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

/** An environment works only where it was made; it may be moved back there. Mostly there is none to be moved. */
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

/** With all that it has started, which would go on writing into the folder: they are a group of their own. */
function end(running: ChildProcess): void {
  try {
    if (running.pid) process.kill(-running.pid);
  } catch {
    // it has just ended by itself
  }
}
