/** The models that `codellama-ls models --json` lists, as a person chooses among them. Pure; knows no VS Code. */

export interface Model {
  readonly id: string;
  readonly title: string;
  readonly infill: boolean;
  readonly chat: string | null;
  readonly licence: string;
  readonly installed: boolean;
  readonly fits: boolean;
  readonly nf4_bytes: number;
}

export type Role = 'completion' | 'chat';

export interface Choice {
  readonly label: string;
  readonly description: string;
  readonly detail: string;
  readonly model: Model;
}

/** Those that can do it here, installed ones first. */
export function choices(models: readonly Model[], role: Role, current: string): Choice[] {
  const able = models.filter((model) => (role === 'chat' ? model.chat !== null : true) && (model.fits || model.installed));
  const order = [...able.filter((model) => model.installed), ...able.filter((model) => !model.installed)];
  return order.map((model) => ({ label: label(model, current), description: model.title, detail: detail(model, role), model }));
}

function label(model: Model, current: string): string {
  if (!model.installed) return `$(cloud-download) ${model.id}`;
  return `${model.id === current ? '$(check)' : '$(circle-outline)'} ${model.id}`;
}

function detail(model: Model, role: Role): string {
  const parts = [`${(model.nf4_bytes / 1e9).toFixed(1)} GB of weights in 4 bits`, model.licence];
  if (role === 'completion' && !model.infill) parts.push('continues, but does not infill');
  if (!model.installed) parts.push('is fetched first');
  return parts.join(' · ');
}
