/** One-time advice: the completion list hides inline suggestions if it opens by itself. */
import * as vscode from 'vscode';

const KEY = 'advisedAboutList';
const WANTED = 'offWhenInlineCompletions';

export async function adviseAboutList(memory: vscode.Memento): Promise<void> {
  const settings = vscode.workspace.getConfiguration('editor');
  const { other } = settings.get<{ other?: string | boolean }>('quickSuggestions', {});
  if (memory.get<boolean>(KEY, false) || (other !== 'on' && other !== true)) return;
  await memory.update(KEY, true);
  const text = 'The completion list opens while you type and hides most inline suggestions. It can open only when there is none.';
  const chosen = await vscode.window.showInformationMessage(`Code Llama: ${text}`, 'Suggestions First', 'Keep the List');
  if (chosen !== 'Suggestions First') return;
  const found = settings.get<object>('quickSuggestions', {});
  await settings.update('quickSuggestions', { ...found, other: WANTED }, vscode.ConfigurationTarget.Global);
}
