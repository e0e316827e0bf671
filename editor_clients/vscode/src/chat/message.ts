/** What a person wrote in VS Code's chat, as the server reads it: `/task`, and files as `#file:"path"`. Pure. */

/** Something attached to a message; `range` says where in the prompt it is named, if it is. */
export interface Attached {
  readonly range?: readonly [number, number] | undefined;
  /** Path of a file, as from its folder of the workspace. */
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

/** Roughly how many tokens a text has: the server alone could count them, and VS Code asks for each piece of it. */
export function roughTokens(text: string): number {
  return Math.ceil(text.length / 3);
}

function mention(path: string): string {
  return `#file:"${path.replaceAll('"', '')}"`;
}
