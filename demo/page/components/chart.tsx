/**
 * The balance over time, drawn by uPlot. The chart moves on with the time; for who asks for less motion, and while nothing can be
 * seen of it, only when the balance changes.
 */
import type { JSX } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import { SCALE, formatAmount } from '../../shared/ledger.js'
import { dayOf, now, timeOfDay } from '../clock.js'
import { colours } from '../theme.js'
import type { Sample } from '../timeline.js'
import type { Wallet } from '../wallet.js'

export interface ChartProps {
  wallet: Wallet
  /** How much time is shown, in milliseconds; `Infinity` for all. */
  rangeMs: number
  inWords: string
}

const UNITS = 10 ** SCALE
/** The least time that is shown. */
const SHORTEST_MS = 10_000

export function Chart({ wallet, rangeMs, inWords }: ChartProps): JSX.Element {
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>(null)
  const scheme = colours()
  const balance = wallet.balance.value
  const isStill = matchMedia('(prefers-reduced-motion: reduce)').matches
  const time = isStill ? Date.now() : now.value

  useEffect(() => {
    const element = place.current
    if (element === null) return undefined
    const chart = draw(element)
    plot.current = chart
    const observer = new ResizeObserver(() => { chart.setSize(sizeOf(element)) })
    observer.observe(element)
    return () => {
      observer.disconnect()
      chart.destroy()
    }
  }, [scheme])

  useEffect(() => {
    plot.current?.setData(dataOf(wallet.timeline.samples, rangeMs, Math.max(time, Date.now())))
  }, [scheme, rangeMs, balance, time])

  return (
    <figure class="chart">
      <div ref={place} role="img" aria-label={describe(wallet.timeline.samples, rangeMs, inWords)} />
    </figure>
  )
}

function describe(samples: readonly Sample[], rangeMs: number, inWords: string): string {
  const [first, last] = [shown(samples, rangeMs, Date.now())[0], samples.at(-1)]
  if (first === undefined || last === undefined) return `Balance over ${inWords}: nothing yet`
  return `Balance over ${inWords}: from ${formatAmount(BigInt(first.balance))} to ${formatAmount(BigInt(last.balance))}`
}

/** The samples of that time, and the one before, which holds until the first of them. */
function shown(samples: readonly Sample[], rangeMs: number, until: number): readonly Sample[] {
  const first = samples.findIndex(({ at }) => at > until - rangeMs)
  return first === -1 ? samples.slice(-1) : samples.slice(Math.max(0, first - 1))
}

/** In seconds since 1970, and the currency. The line goes from edge to edge, and the right one is now. */
function dataOf(samples: readonly Sample[], rangeMs: number, until: number): uPlot.AlignedData {
  const visible = shown(samples, rangeMs, until)
  const [first, last] = [visible[0], visible.at(-1)]
  if (first === undefined || last === undefined) return [[], []]
  const from = rangeMs === Infinity ? Math.min(first.at, until - SHORTEST_MS) : until - rangeMs
  const points = [{ at: from, balance: first.balance }, ...visible.filter(({ at }) => at > from), { at: until, balance: last.balance }]
  return [points.map(({ at }) => at / 1000), points.map(({ balance }) => balance / UNITS)]
}

function sizeOf(element: HTMLElement): { width: number; height: number } {
  return { width: element.clientWidth, height: element.clientHeight }
}

function draw(element: HTMLElement): uPlot {
  const axis: uPlot.Axis = {
    stroke: colourOf(element, '--quiet'),
    font: '12px system-ui, sans-serif',
    grid: { stroke: colourOf(element, '--line'), width: 1 },
    ticks: { show: false }
  }
  return new uPlot({
    ...sizeOf(element),
    padding: [12, 26, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false }, points: { size: 8 } },
    scales: {
      x: { time: true, range: (_plot, low, high) => [low, high] },
      // Never a chart of nothing: a balance that stands still is a line in the middle.
      y: { range: (_plot, low, high) => [Math.min(low, 0) - room(low, high), Math.max(high, 0) + room(low, high)] }
    },
    axes: [
      { ...axis, grid: { show: false }, space: 90, size: 30, values: (_plot, seconds) => namesOf(seconds.map(second => second * 1000)) },
      { ...axis, size: 72, space: 40, values: (_plot, values) => values.map(value => formatAmount(BigInt(Math.round(value * UNITS)))) }
    ],
    series: [
      {},
      { stroke: colourOf(element, '--accent'), fill: colourOf(element, '--accent-soft'), width: 2, fillTo: 0, points: { show: false }, ...stepped() }
    ]
  }, [[], []], element)
}

/** Times of day, or days where there are several. */
function namesOf(times: readonly number[]): string[] {
  const isOneDay = new Set(times.map(dayOf)).size <= 1
  return times.map(time => (isOneDay || dayOf(time) === dayOf(Date.now()) ? timeOfDay(time) : dayOf(time)))
}

/** A balance jumps: between two payments it does not move. */
function stepped(): Pick<uPlot.Series, 'paths'> {
  const paths = uPlot.paths.stepped?.({ align: 1 })
  return paths === undefined ? {} : { paths }
}

/** What a custom property stands for now: a canvas takes no colour that depends on the scheme. */
function colourOf(element: HTMLElement, property: string): string {
  element.style.color = `var(${property})`
  const { color } = getComputedStyle(element)
  element.style.color = ''
  return color
}

function room(low: number, high: number): number {
  return Math.max(0.1, (Math.max(high, 0) - Math.min(low, 0)) * 0.12)
}
