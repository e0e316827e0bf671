/** Format new text for a decoration: VS Code's decorations have one line and collapse blanks. Pure. */

const LONGEST = 160;

export function inline(text: string): string {
  const shown = text.replaceAll('\r', '').replaceAll('\n', '⏎').replaceAll('\t', '    ').replaceAll(' ', '\u00a0');
  return shown.length <= LONGEST ? shown : `${shown.slice(0, LONGEST - 1)}…`;
}
