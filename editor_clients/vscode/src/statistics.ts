/** The figures of `codellama/stats` as Markdown. Pure. */

export interface Group {
  readonly shown: number;
  readonly accepted: number;
  readonly acceptance: number | null;
  readonly partly_accepted: number;
  readonly typed_through: number;
  readonly kept_share: number | null;
  readonly characters_saved: number;
  readonly latency_ms: { readonly p50: number; readonly p95: number } | null;
}

export interface Statistics {
  readonly days: number;
  readonly all: Group;
  readonly today: Group;
  readonly languages: Readonly<Record<string, Group>>;
}

/** A table: total, today, and by language. */
export function statisticsPage(found: Statistics): string {
  const head = ['', 'shown', 'accepted', 'in part', 'typed by hand', 'still there after 30 s', 'characters saved', 'median', '95 %'];
  const groups: [string, Group][] = [['**In all**', found.all], ['Today', found.today], ...Object.entries(found.languages)];
  const rows = groups.map(([name, group]) => `| ${[name, ...cells(group)].join(' | ')} |`);
  const lines = [`# Suggestions of the last ${found.days} days`, '', `| ${head.join(' | ')} |`, `|---${'|--:'.repeat(head.length - 1)}|`];
  return [...lines, ...rows, '', 'These numbers are kept on this machine and hold no code.', ''].join('\n');
}

function cells(group: Group): string[] {
  const times = group.latency_ms ? [group.latency_ms.p50, group.latency_ms.p95].map((ms) => `${Math.round(ms)} ms`) : ['', ''];
  const counts = [group.partly_accepted, group.typed_through].map(String);
  const accepted = `${group.accepted}${percent(group.acceptance, ' (', ')')}`;
  return [String(group.shown), accepted, ...counts, percent(group.kept_share), String(group.characters_saved), ...times];
}

function percent(share: number | null, before = '', after = ''): string {
  return share === null ? '' : `${before}${Math.round(share * 100)} %${after}`;
}
