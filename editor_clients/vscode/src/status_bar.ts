/** The status bar item, redrawn when something it shows changes. */
import * as vscode from 'vscode';
import type { Figures } from './figures';
import type { Session } from './session';
import { shown, type Shown } from './status';
import type { Toggle } from './toggle';

const BACKGROUNDS: Record<Shown['severity'], vscode.ThemeColor | undefined> = {
  normal: undefined,
  warning: new vscode.ThemeColor('statusBarItem.warningBackground'),
  error: new vscode.ThemeColor('statusBarItem.errorBackground'),
};

const LINKS = [
  ['Switch on or off', 'codellama.toggle'],
  ['Why no suggestion?', 'codellama.why'],
  ['Choose model', 'codellama.chooseModel'],
  ['More…', 'codellama.menu'],
] as const;

export function statusBar(session: Session, toggle: Toggle, figures: Figures): vscode.Disposable {
  const item = vscode.window.createStatusBarItem('codellama.status', vscode.StatusBarAlignment.Right, 100);
  item.name = 'Code Llama';
  item.command = 'codellama.menu';
  const draw = (): void => {
    const document = vscode.window.activeTextEditor?.document;
    const { latency, memory } = figures;
    const drawn = shown(session.status, { off: toggle.whyOff(document), busy: session.busy, latency, memory });
    item.text = drawn.text;
    item.tooltip = hover(drawn.lines);
    item.backgroundColor = BACKGROUNDS[drawn.severity];
  };
  draw();
  item.show();
  return vscode.Disposable.from(
    item,
    session.onDidChange(draw),
    toggle.onDidChange(draw),
    figures.onDidChange(draw),
    vscode.window.onDidChangeActiveTextEditor(draw),
  );
}

function hover(lines: readonly string[]): vscode.MarkdownString {
  const text = new vscode.MarkdownString('', true);
  text.isTrusted = { enabledCommands: LINKS.map(([, command]) => command) };
  for (const line of lines) text.appendText(line).appendMarkdown('\n\n');
  return text.appendMarkdown(LINKS.map(([title, command]) => `[${title}](command:${command})`).join(' · '));
}
