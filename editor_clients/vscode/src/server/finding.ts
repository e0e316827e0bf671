/** Where the language server's program is: the setting, else PATH, else the environment that we set up. Never a
 * folder of the workspace: what somebody else put there must not be run. Knows no VS Code. */
import { accessSync, constants, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, isAbsolute, join, parse } from 'node:path';

export const PROGRAM = 'codellama-ls';

/** The working directory of every child process. VS Code's own may be the opened folder, which must not supply code:
 * Python and Windows look for modules and programs in the working directory. */
export const NEUTRAL_FOLDER = parse(process.execPath).root;

export interface Places {
  /** `codellama.server.path`; empty for none. */
  readonly setting: string;
  /** The environment variable PATH. */
  readonly path: string;
  /** The folder of our own virtual environment, which may not be there. */
  readonly own: string;
}

export interface Found {
  readonly command: string;
  readonly from: 'setting' | 'path' | 'own';
}

/** Raises where the setting names no program: what a person chose is not replaced by something else. */
export function find(places: Places, runs: (file: string) => boolean = isExecutable): Found | undefined {
  if (places.setting) return { command: chosen(places.setting, runs), from: 'setting' };
  const folders = places.path.split(delimiter).filter((folder) => isAbsolute(folder));
  const onPath = folders.map((folder) => join(folder, PROGRAM)).find((file) => runs(file));
  if (onPath) return { command: onPath, from: 'path' };
  const own = ownProgram(places.own);
  return runs(own) ? { command: own, from: 'own' } : undefined;
}

/** The program in our own environment: pip writes it last, when all that it needs is there. */
export function ownProgram(folder: string): string {
  return join(folder, 'bin', PROGRAM);
}

function chosen(setting: string, runs: (file: string) => boolean): string {
  const file = setting.startsWith('~/') ? join(homedir(), setting.slice(2)) : setting;
  if (!isAbsolute(file)) throw new Error(`The setting codellama.server.path must be an absolute path, not '${setting}'.`);
  if (!runs(file)) throw new Error(`The setting codellama.server.path names '${setting}', which can't be run.`);
  return file;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
