/** The models of `codellama-ls models --json` as a list to choose from. Pure. */

export interface Model {
  readonly id: string;
  readonly chat: string | null;
  readonly installed: boolean;
  /** Whether the model fits into free memory, and into all memory. Missing if the model can't be read. */
  readonly fits: boolean;
  readonly fits_when_idle?: boolean;
  /** Null for models that were installed by hand. */
  readonly title: string | null;
  readonly infill: boolean | null;
  readonly licence: string | null;
  readonly nf4_bytes: number | null;
}

export type Role = 'completion' | 'chat';

export interface Choice {
  readonly label: string;
  readonly description: string;
  readonly detail: string;
  readonly model: Model;
}

/** The models that support the role and fit here, installed ones first. */
export function choices(models: readonly Model[], role: Role, current: string): Choice[] {
  const able = models.filter((model) => (role === 'completion' || model.chat !== null) && (model.fits_when_idle || model.installed));
  const order = [...able.filter((model) => model.installed), ...able.filter((model) => !model.installed)];
  return order.map((model) => ({ label: label(model, current), description: model.title ?? '', detail: detail(model, role), model }));
}

function label(model: Model, current: string): string {
  if (!model.installed) return `$(cloud-download) ${model.id}`;
  return `${model.id === current ? '$(check)' : '$(circle-outline)'} ${model.id}`;
}

function detail(model: Model, role: Role): string {
  const parts: string[] = [];
  if (model.nf4_bytes !== null) parts.push(`${(model.nf4_bytes / 1e9).toFixed(1)} GB of weights in 4 bits`);
  if (model.licence) parts.push(model.licence);
  if (role === 'completion' && model.infill === false) parts.push('continues, but does not infill');
  if (!model.fits) parts.push('needs more memory than is free now');
  if (!model.installed) parts.push('is fetched first');
  return parts.join(' · ');
}
