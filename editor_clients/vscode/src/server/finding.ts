/** Find the language server's program: the setting, else PATH, else the environment of the set-up. Never a workspace folder:
 * programs that somebody else put there must not run. Independent of VS Code. */
import { accessSync, constants, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, isAbsolute, join, parse } from 'node:path';

export const PROGRAM = 'codellama-ls';

/** The working directory of every child process. VS Code's may be the opened folder, which must not supply code: Python and
 * Windows search the working directory for modules and programs. */
export const NEUTRAL_FOLDER = parse(process.execPath).root;

export interface Places {
  /** `codellama.server.path`; empty for none. */
  readonly setting: string;
  /** The environment variable PATH. */
  readonly path: string;
  /** The folder of the set-up's virtual environment, which may not exist. */
  readonly own: string;
}

export interface Found {
  readonly command: string;
  readonly from: 'setting' | 'path' | 'own';
}

/** Find the program. Throws if the setting names no program: the user's choice is not replaced by another. */
export function find(places: Places, runs: (file: string) => boolean = isExecutable): Found | undefined {
  if (places.setting) return { command: chosen(places.setting, runs), from: 'setting' };
  const folders = places.path.split(delimiter).filter((folder) => isAbsolute(folder));
  const onPath = folders.map((folder) => join(folder, PROGRAM)).find((file) => runs(file));
  if (onPath) return { command: onPath, from: 'path' };
  const own = ownProgram(places.own);
  return runs(own) ? { command: own, from: 'own' } : undefined;
}

/** The program in the set-up's environment. pip writes it last, after its dependencies. */
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
