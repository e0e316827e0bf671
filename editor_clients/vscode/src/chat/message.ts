/** Convert a message of VS Code's chat to the server's form: `/task`, and files as `#file:"path"`. Pure. */

/** An attachment; `range` is its mention in the prompt, if any. */
export interface Attached {
  readonly range?: readonly [number, number] | undefined;
  /** Path of a file relative to its workspace folder. */
  readonly path: string;
}

export function composed(command: string | undefined, prompt: string, attached: readonly Attached[]): string {
  const named = attached.filter((one) => one.range).toSorted((a, b) => (b.range?.[0] ?? 0) - (a.range?.[0] ?? 0));
  let text = prompt;
  for (const { range, path } of named) {
    if (range) text = text.slice(0, range[0]) + mention(path) + text.slice(range[1]);
  }
  const others = attached.filter((one) => !one.range).map((one) => mention(one.path));
  return [command ? `/${command}` : '', text.trim(), ...new Set(others)].filter(Boolean).join(' ');
}

/** Estimate the tokens of a text. Only the server could count them, and VS Code asks for each part. */
export function roughTokens(text: string): number {
  return Math.ceil(text.length / 3);
}

function mention(path: string): string {
  return `#file:"${path.replaceAll('"', '')}"`;
}
