/** Said once: where the list of completions opens by itself, it stands in the way of grey text. */
import * as vscode from 'vscode';

const KEY = 'advisedAboutList';
const WANTED = 'offWhenInlineCompletions';

export async function adviseAboutList(memory: vscode.Memento): Promise<void> {
  const settings = vscode.workspace.getConfiguration('editor');
  const { other } = settings.get<{ other?: string | boolean }>('quickSuggestions', {});
  if (memory.get<boolean>(KEY, false) || (other !== 'on' && other !== true)) return;
  await memory.update(KEY, true);
  const text = 'The list of completions opens while you type and hides most grey text. It can wait until there is none.';
  const chosen = await vscode.window.showInformationMessage(`Code Llama: ${text}`, 'Grey Text First', 'Keep the List');
  if (chosen !== 'Grey Text First') return;
  const found = settings.get<object>('quickSuggestions', {});
  await settings.update('quickSuggestions', { ...found, other: WANTED }, vscode.ConfigurationTarget.Global);
}
