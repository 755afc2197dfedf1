/** Draws levels on canvases. Colours come from the stylesheet: `color` for levels, `outline-color` for marks. */
import { COLUMN_MS, type LevelHistory, type Side } from './level-history';

const PITCH = 4;
const BAR = 2.5;
const QUIETEST_DBFS = -60;
const REST_ALPHA = 0.35;
const METER_FALL_PER_DRAW = 0.03;

interface Brush {
  readonly context: CanvasRenderingContext2D;
  /** CSS pixels. */
  readonly width: number;
  readonly height: number;
  readonly markColour: string;
}

/** Draw one side's last seconds, the newest at the end; `you` grows upwards, `assistant` downwards. */
export function drawStrip(
  canvas: HTMLCanvasElement,
  history: LevelHistory,
  side: Side,
  at: number,
  secondsText: (milliseconds: number) => string,
): void {
  const brush = prepare(canvas);
  if (!brush) return;
  const visible = Math.ceil(brush.width / PITCH) + 1;
  const newest = Math.floor(at / COLUMN_MS);
  const placeOf = (column: number) => brush.width - (at / COLUMN_MS - column) * PITCH;
  for (let column = newest - visible; column <= newest; column += 1) {
    drawBar(brush, placeOf(column), share(history.column(side, column)), side);
  }
  if (side !== 'assistant') return;
  for (const { column, heardMs } of history.marks) drawMark(brush, placeOf(column), secondsText(heardMs));
}

/** Draw a level as a bar with a slowly falling peak; returns the peak to pass in the next time, 0 to 1. */
export function drawMeter(canvas: HTMLCanvasElement, dbfs: number, peakBefore: number): number {
  const level = share(dbfs);
  const peak = Math.max(level, peakBefore - METER_FALL_PER_DRAW);
  const brush = prepare(canvas);
  if (!brush) return peak;
  const { context, width, height } = brush;
  context.globalAlpha = 0.16;
  rounded(context, 0, 0, width, height);
  context.globalAlpha = 1;
  if (level > 0) rounded(context, 0, 0, Math.max(height, width * level), height);
  if (peak > 0.02) context.fillRect(Math.min(width - 2, width * peak), 0, 2, height);
  return peak;
}

function drawBar({ context, height }: Brush, x: number, level: number, side: Side): void {
  const length = Math.max(2, level * (height - 4));
  context.globalAlpha = level === 0 ? REST_ALPHA : 1;
  rounded(context, x, side === 'you' ? height - length : 0, BAR, length);
}

function drawMark({ context, height, width, markColour }: Brush, x: number, text: string): void {
  if (x < 0 || x > width) return;
  context.globalAlpha = 1;
  context.strokeStyle = markColour;
  context.fillStyle = markColour;
  context.lineWidth = 1.5;
  context.setLineDash([4, 3]);
  context.beginPath();
  context.moveTo(x, 0);
  context.lineTo(x, height);
  context.stroke();
  context.font = '600 11px ui-monospace, monospace';
  context.textAlign = x > width - 70 ? 'right' : 'left';
  context.textBaseline = 'bottom';
  context.fillText(`✂ ${text}`, x + (context.textAlign === 'right' ? -5 : 5), height - 2);
}

function rounded(
  context: CanvasRenderingContext2D,
  x: number,
  y: number,
  width: number,
  height: number,
): void {
  context.beginPath();
  context.roundRect(x, y, width, height, Math.min(width, height) / 2);
  context.fill();
}

/** Fit the canvas to its box and the screen's pixels, and clear it. */
function prepare(canvas: HTMLCanvasElement): Brush | null {
  const context = canvas.getContext('2d');
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!context || width === 0 || height === 0) return null;
  const ratio = globalThis.devicePixelRatio || 1;
  const [pixelWidth, pixelHeight] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== pixelWidth) canvas.width = pixelWidth;
  if (canvas.height !== pixelHeight) canvas.height = pixelHeight;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const style = getComputedStyle(canvas);
  context.fillStyle = style.color;
  return { context, width, height, markColour: style.outlineColor };
}

/** 0 for what counts as silence, 1 for full scale. */
function share(dbfs: number): number {
  return Math.min(1, Math.max(0, 1 - dbfs / QUIETEST_DBFS));
}
