/**
 * Simulated worlds: the seeds that every check of the project plays, and proof that the simulator would tell. `npm run sim` plays others.
 */
import { describe, expect, it } from 'vitest'
import { DEATHS, deathsOf, someTurns } from './deaths.js'
import { Figures, report } from './figures.js'
import { WRONG } from './wrong.js'
import { run } from './run.js'
import { FAULTS } from './world.js'

const SEEDS = 2000
const IN_A_TEST = 200
/** Within so many seeds each of the wrong ones is found. */
const WRONG_SEEDS = 400

const figures = new Figures()

describe('H7, H14, H15, H16: I1 to I9 hold, whatever fails, and everything ends', () => {
  it.each(Array.from({ length: SEEDS / IN_A_TEST }, (_, n) => n * IN_A_TEST + 1))(`in the ${IN_A_TEST} worlds from seed %i on`, async first => {
    for (let seed = first; seed < first + IN_A_TEST; seed++) {
      const result = await run(seed)
      figures.add(result)
      if (result.violations.length > 0) throw new Error(await report(seed))
    }
  }, 60_000)

  it('and each kind of fault has struck, while a third of the transfers went through', () => {
    expect(figures.seeds).toBe(SEEDS)
    expect(FAULTS.filter(fault => figures.count(fault) < 100)).toEqual([])
    expect(figures.fulfilled).toBeGreaterThan(3 * SEEDS)
  })
})

describe('H5, H6: I1 to I9 hold, wherever one of the two dies', () => {
  it.each(DEATHS)('at each point of two payments, at once and some turns later: seed %i, %s', async seed => {
    let deaths = 0
    for await (const killAt of deathsOf(seed, someTurns)) {
      const { violations, struck } = await run(seed, { killAt })
      if (violations.length > 0) throw new Error(await report(seed, { killAt }))
      deaths += struck.get('kill') ?? 0
    }
    expect(deaths).toBeGreaterThan(100)
  }, 60_000)
})

describe('the simulator itself', () => {
  it('plays a seed the same way each time', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const [one, other]: [string[], string[]] = [[], []]
      await run(seed, { trace: line => { one.push(line) } })
      await run(seed, { trace: line => { other.push(line) } })
      expect(other).toEqual(one)
    }
  })

  it.each(WRONG)(`finds within ${WRONG_SEEDS} seeds $name`, async ({ mutant, patch, rules }) => {
    const restore = patch?.()
    try {
      let found: readonly string[] = []
      for (let seed = 1; seed <= WRONG_SEEDS && found.length === 0; seed++) found = (await run(seed, { mutant })).violations
      expect(rules).toContain(found[0]?.slice(0, 2))
    } finally {
      restore?.()
    }
  })

  it('tells of a seed that fails how to play it again, and what happened', async () => {
    const mutant = { exceedsLimits: true }
    let seed = 1
    while ((await run(seed, { mutant })).violations.length === 0) seed++
    const [what, command, ...trace] = (await report(seed, { mutant })).split('\n')
    expect(what).toMatch(new RegExp(`^seed ${seed}: I5: `))
    expect(command).toBe(`npm run sim -- --seed ${seed}`)
    expect(trace.at(-1)).toMatch(/^ +[0-9.]+ +VIOLATION I5: /)
    expect(trace.join('\n')).toMatch(/ alice sends Message \[auth/)
  })
})
