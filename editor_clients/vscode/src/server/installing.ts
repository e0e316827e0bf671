/** The commands that install the language server into a virtual environment. Pure; runs nothing. */
import { join } from 'node:path';

export interface Step {
  readonly says: string;
  readonly command: string;
  readonly args: readonly string[];
}

/** What to install: a source folder, a wheel or a requirement. `wheels` is a folder that replaces the network. */
export interface Source {
  readonly what: string;
  readonly wheels?: string | undefined;
}

export const OLDEST_PYTHON = [3, 11] as const;

const TOLD_LINES = 3;

/** Paths inside a virtual environment on Linux. */
const LACKS_PIP = 'This Python makes no environments: install the package python3-venv, or name another one in codellama.server.python.';

/** The steps. `-I` keeps modules of the working directory and of PYTHONPATH out of both. */
export function steps(python: string, folder: string, source: Source): Step[] {
  const own = join(folder, 'bin', 'python');
  const offline = source.wheels ? ['--no-index', '--find-links', source.wheels] : [];
  const options = ['--disable-pip-version-check', '--no-input', '--progress-bar', 'off', ...offline];
  return [
    { says: 'Creating an environment', command: python, args: ['-I', '-m', 'venv', '--clear', folder] },
    { says: 'Installing', command: own, args: ['-I', '-m', 'pip', 'install', ...options, source.what] },
  ];
}

/** Return whether the output of `python --version` names a version that is new enough. */
export function isNewEnough(version: string): boolean {
  const found = /Python (\d+)\.(\d+)/.exec(version);
  if (!found) return false;
  const [major, minor] = [Number(found[1]), Number(found[2])];
  return major > OLDEST_PYTHON[0] || (major === OLDEST_PYTHON[0] && minor >= OLDEST_PYTHON[1]);
}

/** The reason of a failed step from its output: pip's errors, else the last lines. */
export function reason(lines: readonly string[]): string {
  if (lines.some((line) => line.includes('ensurepip is not available'))) return LACKS_PIP;
  const errors = lines.filter((line) => line.startsWith('ERROR: ')).map((line) => line.slice('ERROR: '.length));
  return (errors.length > 0 ? errors : lines).slice(-TOLD_LINES).join(' ') || 'It failed without an error message.';
}

/** Progress text for a line of pip's output; empty for other lines. */
export function progress(line: string): string {
  const found = /^\s*(Collecting|Downloading|Using cached|Building wheel for|Installing collected packages)\b[:\s]*(\S*)/.exec(line);
  if (!found) return '';
  const name = found[1] === 'Installing collected packages' ? '' : ` ${(found[2] ?? '').split('/').at(-1) ?? ''}`;
  return `${found[1] ?? ''}${name}`;
}
