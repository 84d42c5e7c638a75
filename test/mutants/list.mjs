/**
 * Deliberate bugs of the sources, each a small patch: `find` occurs once in `file`, and `replace` takes its place. `rule` is what it breaks: a
 * rule of the simulator's auditor (I1 to I9), or a line of test/HAZARDS.md or test/CONFORMANCE.md. `by` is what must catch it:
 * so many seeds of the simulator, three times those that it needed; else a file of tests, of which `only` picks some.
 *
 * Whoever changes what is to be found here makes the same mistake in what takes its place, or finds another one that is as bad.
 */
export const MUTANTS = [
  {
    name: 'the maximum leaves out what is held',
    rule: 'I5',
    file: 'src/ledger/draft.ts',
    find: 'position + incomingHeld + ',
    replace: 'position + ',
    by: { sim: 10 }
  },
  {
    name: 'the minimum leaves out the transfer itself',
    rule: 'I5',
    file: 'src/ledger/draft.ts',
    find: 'position - outgoingHeld - entry.amount <',
    replace: 'position - outgoingHeld <',
    by: { sim: 10 }
  },
  {
    name: 'an amount that just fits is refused',
    rule: 'I5',
    file: 'src/ledger/draft.ts',
    find: '+ entry.amount > this.#limits.maximum',
    replace: '+ entry.amount >= this.#limits.maximum',
    by: { test: 'test/ledger/ledger.test.ts' }
  },
  {
    name: 'disputes make room for more of them at once',
    rule: 'I9',
    file: 'src/ledger/draft.ts',
    find: ' + this.#memory.withheld',
    replace: '',
    by: { test: 'test/plugin/data-faults.test.ts', only: 'takes room below' }
  },
  {
    name: 'what was disputed takes room for no longer than it takes to say so',
    rule: 'I9',
    file: 'src/plugin/account.ts',
    find: 'ledger.withhold(value, release => { clock.setTimer(WITHHELD_MS, release) })',
    replace: 'ledger.withhold(value, release => { clock.setTimer(0, release) })',
    by: { test: 'test/plugin/data-faults.test.ts', only: 'takes room below' }
  },
  {
    name: 'timers of different turns fire together',
    rule: 'I4',
    file: 'src/core/timers.ts',
    find: '    queueMicrotask(() => { this.#forget(shared) })\n',
    replace: '',
    by: { test: 'test/core/timers.test.ts' }
  },
  {
    name: 'a page of open transfers is written without those that stay',
    rule: 'I1',
    file: 'src/ledger/open-pages.ts',
    find: 'this.#pageOf.get(one) === page && !leaving.has(one)',
    replace: 'this.#pageOf.get(one) !== page && !leaving.has(one)',
    by: { test: 'test/ledger/pages.test.ts' }
  },
  {
    name: 'a hold is released twice',
    rule: 'I5',
    file: 'src/ledger/draft.ts',
    find: "if (wasCounted && after !== 'prepared') hold(this.#sums, entry, -1)",
    replace: "if (wasCounted && after !== 'prepared') { hold(this.#sums, entry, -1); hold(this.#sums, entry, -1) }",
    by: { sim: 10 }
  },
  {
    name: 'a hold is not released when it is cancelled',
    rule: 'H11',
    file: 'src/ledger/draft.ts',
    find: "if (wasCounted && after !== 'prepared')",
    replace: "if (wasCounted && after === 'fulfilled')",
    by: { sim: 40 }
  },
  {
    name: 'what is disputed stays counted',
    rule: 'I2',
    file: 'src/ledger/draft.ts',
    find: "if (before === 'fulfilled') this.#credit(moved, -1)",
    replace: '',
    by: { sim: 30 }
  },
  {
    name: 'a dispute is taken off twice',
    rule: 'I2',
    file: 'src/ledger/draft.ts',
    find: "if (before === 'fulfilled') this.#credit(moved, -1)",
    replace: "if (before === 'fulfilled') { this.#credit(moved, -1); this.#credit(moved, -1) }",
    by: { sim: 30 }
  },
  {
    name: 'settlements leave the position where it is',
    rule: 'I2',
    file: 'src/ledger/draft.ts',
    find: ' + settledOut - settledIn',
    replace: '',
    by: { sim: 30 }
  },
  {
    name: 'a settlement counts beyond what its claim secures',
    rule: 'I6',
    file: 'src/ledger/draft.ts',
    find: 'if (this.#sums[which] + amount > most)',
    replace: 'if (most < 0n)',
    by: { test: 'test/plugin/money.test.ts' }
  },
  {
    name: 'what the module refuses keeps its hold',
    rule: 'H1',
    file: 'src/ledger/draft.ts',
    find: 'hold(this.#sums, entry, -1)\n    this.erase(entry)',
    replace: 'this.erase(entry)',
    by: { test: 'test/ledger/ledger.test.ts' }
  },
  {
    name: 'a change may be made of what has changed meanwhile',
    rule: 'I3',
    file: 'src/ledger/draft.ts',
    find: 'if (this.get(entry.id) !== entry) throw',
    replace: 'if (this.get(entry.id) === undefined) throw',
    by: { test: 'test/ledger/ledger.test.ts' }
  },
  {
    name: 'what we settled is not stored',
    rule: 'I2',
    file: 'src/ledger/draft.ts',
    find: "'outgoingFulfilled', 'settledIn', 'settledOut'] as const",
    replace: "'outgoingFulfilled', 'settledIn'] as const",
    by: { sim: 30 }
  },
  {
    name: 'the record of what was fulfilled is not written',
    rule: 'H6',
    file: 'src/ledger/draft.ts',
    find: "return isKept && (state !== 'prepared' || this.#layout.isOld)",
    replace: "return isKept && (state === 'cancelled' || this.#layout.isOld)",
    by: { sim: 10 }
  },
  {
    name: 'the evidence of a dispute is not kept',
    rule: 'I9',
    file: 'src/ledger/draft.ts',
    find: "if (stage === 'disputed') this.#group.put(",
    replace: "if (stage === 'prepared') this.#group.put(",
    by: { test: 'test/ledger/ledger.test.ts' }
  },
  {
    name: 'a pruned transfer takes its amount along',
    rule: 'I2',
    file: 'src/ledger/draft.ts',
    find: 'this.#leaving.add(entry.id)\n    this.#set(entry.id, undefined, entry)',
    replace: "if (entry.info.state === 'fulfilled') this.#credit(entry, -1)\n    this.#leaving.add(entry.id)\n    this.#set(entry.id, undefined, entry)",
    by: { test: 'test/ledger/ledger.test.ts' }
  },
  {
    name: 'the history is in the order of old to new',
    rule: 'H4',
    file: 'src/ledger/draft.ts',
    find: 'sort(([a], [b]) => b - a)',
    replace: 'sort(([a], [b]) => a - b)',
    by: { test: 'test/ledger/ledger.test.ts' }
  },
  {
    name: 'a final id that memory has forgotten is taken for new',
    rule: 'H4',
    file: 'src/ledger/ledger.ts',
    find: 'group.expectAbsent(this.#keys.transfer(id), () => { this.#unread.add(id) })',
    replace: '',
    by: { test: 'test/ledger/ledger.test.ts' }
  },
  {
    name: 'a packet takes the id of one that is in dispute',
    rule: 'I3',
    file: 'src/ledger/draft.ts',
    find: "isKept: entry.isKept || stage === 'disputed',",
    replace: 'isKept: entry.isKept,',
    by: { test: 'test/plugin/data-faults.test.ts' }
  },
  {
    name: 'a restart forgets what is held',
    rule: 'H5',
    file: 'src/ledger/ledger.ts',
    find: 'for (const entry of open.values()) hold(sums, entry, 1)',
    replace: '',
    by: { sim: 40 }
  },
  {
    name: 'pruning takes what is not final',
    rule: 'I2',
    file: 'src/ledger/ledger.ts',
    find: "const isDone = entry.open === undefined && (entry.stage === 'fulfilled' || entry.stage === 'cancelled')",
    replace: "const isDone = entry.stage !== 'held'",
    by: { test: 'test/ledger/ledger.test.ts' }
  },
  {
    name: 'what is listed stops at the first page',
    rule: 'H5',
    file: 'src/ledger/ledger.ts',
    find: 'after = page.at(-1)?.[0]\n      if (page.length < PAGE) return',
    replace: 'return',
    by: { test: 'test/ledger/pages.test.ts' }
  },
  {
    name: 'what stays in a page is lost when another leaves it',
    rule: 'H5',
    file: 'src/ledger/open-pages.ts',
    find: 'else group.put(this.#keys.open(number), textOf(staying.map(record)))',
    replace: 'else group.delete(this.#keys.open(number))',
    by: { sim: 10 }
  },
  {
    name: 'all new pages of a commit get one number',
    rule: 'H5',
    file: 'src/ledger/open-pages.ts',
    find: 'this.#last + index + 1',
    replace: 'this.#last + 1',
    by: { test: 'test/ledger/pages.test.ts' }
  },
  {
    name: 'a commit does not ask whether another owner has written',
    rule: 'H8',
    file: 'src/ledger/committer.ts',
    find: '= [[HEAD_KEY, current.text]]',
    replace: '= []',
    by: { sim: 110 }
  },
  {
    name: 'a take-over keeps the epoch',
    rule: 'I3',
    file: 'src/ledger/committer.ts',
    find: 'parseEpoch(before) + 1',
    replace: 'parseEpoch(before)',
    by: { test: 'test/ledger/committer.test.ts' }
  },
  {
    name: 'a group is answered before it is durable',
    rule: 'I7',
    file: 'src/ledger/committer.ts',
    find: 'const landed = await this.#write({ puts, deletes, guards })\n      if (landed) this.#landed(group, current, next)',
    replace: 'this.#landed(group, current, next)\n      const landed = await this.#write({ puts, deletes, guards })\n      if (landed) return',
    by: { sim: 10 }
  },
  {
    name: 'a commit of unknown outcome counts as failed',
    rule: 'H7',
    file: 'src/ledger/committer.ts',
    find: "if (cause instanceof StoreError && cause.outcome === 'unknown') {",
    replace: 'if (cause instanceof StandbyError) {',
    by: { sim: 30 }
  },
  {
    name: 'a failed commit counts as durable',
    rule: 'H7',
    file: 'src/ledger/committer.ts',
    find: 'else this.#failed(group, cause)',
    replace: 'else this.#landed(group, current, next)',
    by: { sim: 10 }
  },
  {
    name: 'a group that did not land may land yet',
    rule: 'H7',
    file: 'src/ledger/committer.ts',
    find: 'await this.#write({ puts: [[HEAD_KEY, fence.text]], guards: [[HEAD_KEY, current.text]] })',
    replace: 'this.#failed(group, cause)\n        return',
    by: { sim: 320 }
  },
  {
    name: 'a smaller claim takes the place of a greater one',
    rule: 'I6',
    file: 'src/ledger/max-value-tracker.ts',
    find: 'if (value <= parseSum(',
    replace: 'if (value === parseSum(',
    by: { test: 'test/ledger/max-value-tracker.test.ts' }
  },
  {
    name: 'a Fulfill may be followed by a Reject',
    rule: 'I3',
    file: 'src/ledger/stages.ts',
    find: "fulfilling: ['fulfilled', 'disputed']",
    replace: "fulfilling: ['fulfilled', 'disputed', 'rejecting']",
    by: { test: 'test/ledger/stages.test.ts' }
  },
  {
    name: 'a repeated Prepare is raised to the host again',
    rule: 'H2',
    file: 'src/plugin/incoming.ts',
    find: "return known.stage === 'checking' ? known : undefined",
    replace: 'return known',
    by: { sim: 90 }
  },
  {
    name: 'a repeated Prepare asks the module again',
    rule: 'H3',
    file: 'src/plugin/incoming.ts',
    find: 'const check = entry.info.transfer === transfer ? undefined : this.#checks.get(entry.id)',
    replace: "const check = this.#checks.get('')",
    by: { test: 'test/plugin/incoming.test.ts', only: 'a repeat waits' }
  },
  {
    name: 'a Prepare that has expired is taken',
    rule: 'H17',
    file: 'src/plugin/incoming.ts',
    find: 'if (expiresAt <= clock.now()) throw',
    replace: 'if (expiresAt <= 0) throw',
    by: { test: 'test/plugin/incoming.test.ts' }
  },
  {
    name: 'a fulfill begins within the margin',
    rule: 'H14',
    file: 'src/plugin/incoming.ts',
    find: 'Date.parse(known.info.transfer.expiresAt) - expiryMarginMs',
    replace: 'Date.parse(known.info.transfer.expiresAt)',
    by: { test: 'test/plugin/incoming.test.ts', only: 'the margin' }
  },
  {
    name: 'our host may fulfill with any preimage',
    rule: 'I2',
    file: 'src/plugin/incoming.ts',
    find: 'if (known.info.transfer.executionCondition !== condition)',
    replace: "if (known.info.transfer.executionCondition === '')",
    by: { test: 'test/plugin/incoming.test.ts', only: 'C48' }
  },
  {
    name: 'what its sender has rolled back is booked',
    rule: 'H14',
    file: 'src/plugin/incoming.ts',
    find: "if (error instanceof AlreadyRolledBackError) return 'disputed'",
    replace: "if (error instanceof AlreadyRolledBackError) return 'fulfilled'",
    by: { sim: 20 }
  },
  {
    name: 'a restart forgets the Fulfill that was not answered',
    rule: 'H15',
    file: 'src/plugin/incoming.ts',
    find: "if (entry.stage === 'fulfilling') this.#deliverFulfill(entry)",
    replace: '',
    by: { sim: 120 }
  },
  {
    name: 'a restart forgets the Reject that was not answered',
    rule: 'H13',
    file: 'src/plugin/incoming.ts',
    find: "if (entry.stage === 'rejecting') this.#deliverReject(entry)",
    replace: '',
    by: { test: 'test/plugin/resume.test.ts' }
  },
  {
    name: 'a restart forgets when what it holds expires',
    rule: 'I8',
    file: 'src/plugin/incoming.ts',
    find: "if (entry.stage === 'held') this.#armExpiry(entry)",
    replace: '',
    by: { sim: 90 }
  },
  {
    name: 'an id comes again with other content',
    rule: 'H4',
    file: 'src/plugin/incoming.ts',
    find: '!sameOnTheWire(known.info.transfer, transfer)',
    replace: 'known.info.transfer === transfer',
    by: { test: 'test/plugin/incoming.test.ts' }
  },
  {
    name: 'the sender hears before the judgement is stored',
    rule: 'I7',
    file: 'src/plugin/incoming.ts',
    find: 'await module?.handleIncomingPrepare(hostCopy(entry))',
    replace: 'await module?.handleIncomingPrepare(hostCopy(entry))\n      if (isCurrent()) return',
    by: { test: 'test/plugin/incoming.test.ts' }
  },
  {
    name: 'a Fulfill is taken with any preimage',
    rule: 'I2',
    file: 'src/plugin/outgoing.ts',
    find: 'if (entry.info.transfer.executionCondition !== condition)',
    replace: "if (entry.info.transfer.executionCondition === '')",
    by: { test: 'test/plugin/outgoing.test.ts' }
  },
  {
    name: 'a Fulfill after the grace counts',
    rule: 'I4',
    file: 'src/plugin/outgoing.ts',
    find: 'if (arrivedAt > expiresAt + this.#account.graceMs) throw',
    replace: 'if (arrivedAt < 0) throw',
    by: { test: 'test/plugin/outgoing.test.ts' }
  },
  {
    name: 'no grace is given',
    rule: 'I4',
    file: 'src/plugin/outgoing.ts',
    find: 'this.#timers.setFor(entry.id, expiresAt.getTime() + this.#account.graceMs)',
    replace: 'this.#timers.setFor(entry.id, expiresAt.getTime())',
    by: { sim: 10 }
  },
  {
    name: 'a Prepare is repeated to a peer that pays twice for it',
    rule: 'H2',
    file: 'src/plugin/outgoing.ts',
    find: 'session()?.peer.announced === true)',
    replace: 'session() !== undefined)',
    by: { test: 'test/plugin/outgoing.test.ts' }
  },
  {
    name: 'a refused repeat releases the hold of the first attempt',
    rule: 'H15',
    file: 'src/plugin/outgoing.ts',
    find: 'if (isOnlyAttempt || error instanceof AlreadyRolledBackError)',
    replace: 'if (attempts > 0)',
    by: { test: 'test/plugin/outgoing.test.ts' }
  },
  {
    name: 'a restart forgets what was offered',
    rule: 'H5',
    file: 'src/plugin/outgoing.ts',
    find: "else if (entry.stage === 'offered') this.#begin(entry, true)",
    replace: '',
    by: { sim: 90 }
  },
  {
    name: 'a restart raises no end that may not have been heard',
    rule: 'I8',
    file: 'src/plugin/outgoing.ts',
    find: 'if (entry.open?.report !== undefined) this.#report(entry)',
    replace: 'if (entry.open?.report !== undefined) this.#account.ledger.close(entry.id)',
    by: { test: 'test/plugin/resume.test.ts' }
  },
  {
    name: 'a Reject of what is fulfilled has the wrong name',
    rule: 'C33',
    file: 'src/plugin/outgoing.ts',
    find: "if (entry.info.state === 'fulfilled') throw new AlreadyFulfilledError(`transfer ${id} is fulfilled`)",
    replace: '',
    by: { test: 'test/plugin/outgoing.test.ts' }
  },
  {
    name: 'an id that was used comes again',
    rule: 'H4',
    file: 'src/plugin/outgoing.ts',
    find: '|| !sameTransfer(known.info.transfer, transfer)',
    replace: '',
    by: { test: 'test/plugin/outgoing.test.ts' }
  },
  {
    name: 'a lost connection is taken for a refusal',
    rule: 'H11',
    file: 'src/plugin/courier.ts',
    find: 'error.fromPeer ? final(error, attempts) : isFinal(error)',
    replace: 'final(error, attempts)',
    by: { sim: 10 }
  },
  {
    name: 'any number may be in flight',
    rule: 'H38',
    file: 'src/plugin/account.ts',
    find: 'inFlight >= maxInFlight || ',
    replace: '',
    by: { test: 'test/plugin/options.test.ts' }
  },
  {
    name: 'a packet is answered before its end is stored',
    rule: 'I7',
    file: 'src/plugin/data-incoming.ts',
    find: 'changeTransferThen(this.#account, life, id, view => this.#decideEnd',
    replace: 'handling.arrival.answered(end.packet)\n    changeTransferThen(this.#account, life, id, view => this.#decideEnd',
    by: { sim: 30 }
  },
  {
    name: "our host's packet may have any preimage",
    rule: 'I2',
    file: 'src/plugin/data-incoming.ts',
    find: 'if (conditionOf(fulfillment) === transfer.executionCondition)',
    replace: "if (fulfillment !== '')",
    by: { test: 'test/plugin/data.test.ts' }
  },
  {
    name: 'a packet is fulfilled within the margin',
    rule: 'H14',
    file: 'src/plugin/data-incoming.ts',
    find: 'clock.now() >= expiresAt - expiryMarginMs) return',
    replace: 'clock.now() >= expiresAt) return',
    by: { test: 'test/plugin/data.test.ts' }
  },
  {
    name: 'T04 and F08 are mixed up',
    rule: 'C56',
    file: 'src/plugin/data-incoming.ts',
    find: 'if (BigInt(amount) <= most) return',
    replace: 'if (BigInt(amount) > most) return',
    by: { test: 'test/plugin/data.test.ts' }
  },
  {
    name: 'what was told to be cancelled is taken when it arrives late',
    rule: 'I1',
    file: 'src/plugin/data-incoming.ts',
    find: 'if (this.#refused.has(id)) throw',
    replace: "if (this.#refused.has('')) throw",
    by: { test: 'test/plugin/data.test.ts' }
  },
  {
    name: 'a restart forgets what the sender may still object to',
    rule: 'I8',
    file: 'src/plugin/data-incoming.ts',
    find: "if (stage === 'answered') this.#disputable.add(id, amount)",
    replace: '',
    by: { test: 'test/plugin/data.test.ts' }
  },
  {
    name: 'a packet is fulfilled by any preimage',
    rule: 'I2',
    file: 'src/plugin/data-outgoing.ts',
    find: 'conditionOf(reply.fulfillment) !== flight.executionCondition',
    replace: "reply.fulfillment === ''",
    by: { test: 'test/plugin/data.test.ts' }
  },
  {
    name: 'a late answer settles what the host has given up',
    rule: 'I1',
    file: 'src/plugin/data-outgoing.ts',
    find: "if (entry.stage === 'unsure') {",
    replace: "if (entry.stage === 'offered') {",
    by: { test: 'test/plugin/data.test.ts' }
  },
  {
    name: 'nobody tells the peer that its Fulfill came too late',
    rule: 'I1',
    file: 'src/plugin/data-outgoing.ts',
    find: 'if (isStored) void this.#tellLate(flight, reply.fulfillment)',
    replace: 'void isStored',
    by: { sim: 30 }
  },
  {
    name: 'a lost answer gives the hold of a packet back',
    rule: 'H11',
    file: 'src/plugin/data-outgoing.ts',
    find: 'if (!error.fromPeer && isTemporary(error)) this.#lost(flight)\n    else',
    replace: '',
    by: { sim: 30 }
  },
  {
    name: 'what is unsure at its expiry is forgotten',
    rule: 'I1',
    file: 'src/plugin/data-outgoing.ts',
    find: "cannotAsk ? 'cancelled' : 'unsure'",
    replace: "'cancelled'",
    by: { sim: 30 }
  },
  {
    name: 'a restart forgets the packets that were sent',
    rule: 'H5',
    file: 'src/plugin/data-outgoing.ts',
    find: "if (stage !== 'sent' && stage !== 'unsure') continue",
    replace: "if (stage !== 'unsure') continue",
    by: { sim: 30 }
  },
  {
    name: 'the sender has no time to object',
    rule: 'I1',
    file: 'src/plugin/disputable.ts',
    find: 'wasHeard && this.#sweeps >= closesAfter',
    replace: 'true',
    by: { test: 'test/plugin/disputable.test.ts' }
  },
  {
    name: 'what may be disputed has no bound',
    rule: 'I9',
    file: 'src/plugin/disputable.ts',
    find: '|| this.#sum > most',
    replace: '',
    by: { test: 'test/plugin/disputable.test.ts' }
  },
  {
    name: 'a first question about packets decides about those just told',
    rule: 'I1',
    file: 'src/plugin/disputable.ts',
    find: 'known.session !== session && !this.#asked',
    replace: '!this.#asked',
    by: { test: 'test/plugin/disputable.test.ts' }
  },
  {
    name: 'a balance decides while Fulfills are in the air',
    rule: 'H14',
    file: 'src/plugin/doubts.ts',
    find: 'if (moved || this.#othersInTheAir())',
    replace: 'if (moved)',
    by: { test: 'test/plugin/doubts.test.ts' }
  },
  {
    name: 'a balance that was told once decides',
    rule: 'H14',
    file: 'src/plugin/doubts.ts',
    find: 'if (fulfilled !== undefined && answer === before)',
    replace: 'if (fulfilled !== undefined)',
    by: { test: 'test/plugin/doubts.test.ts' }
  },
  {
    name: 'a claim is sent before it is stored',
    rule: 'I7',
    file: 'src/plugin/settlement.ts',
    find: 'await this.#options.records.write(OUTGOING_RECORD, JSON.stringify(next))',
    replace: 'this.#outgoing = next\n    await this.#options.records.write(OUTGOING_RECORD, JSON.stringify(next))',
    by: { sim: 480 }
  },
  {
    name: 'a claim that is refused for now is not sent again',
    rule: 'H16',
    file: 'src/plugin/settlement.ts',
    find: 'if (isTemporary(error)) {\n        delayMs',
    replace: 'if (this.#delivering === false) {\n        delayMs',
    by: { test: 'test/plugin/settlement.test.ts' }
  },
  {
    name: 'the module is asked for a sum again',
    rule: 'H16',
    file: 'src/plugin/settlement.ts',
    find: "parseSum(sum, 'sum') > parseSum",
    replace: "parseSum(sum, 'sum') >= parseSum",
    by: { test: 'test/plugin/settlement.test.ts' }
  },
  {
    name: 'a settlement is credited twice',
    rule: 'I1',
    file: 'src/plugin/money.ts',
    find: 'number > credited.number',
    replace: 'number >= credited.number',
    by: { sim: 100 }
  },
  {
    name: 'a restart gives the number of a settlement again',
    rule: 'I1',
    file: 'src/plugin/money.ts',
    find: 'this.#lastNumber = this.#state.last',
    replace: 'this.#lastNumber = 0',
    by: { test: 'test/plugin/money-faults.test.ts', only: 'the wall clock was put back' }
  },
  {
    name: 'the claim beside a settlement decreases',
    rule: 'I6',
    file: 'src/plugin/money.ts',
    find: 'const claimed = sum > before ? sum : before',
    replace: 'const claimed = sum',
    by: { test: 'test/plugin/money-faults.test.ts' }
  },
  {
    name: 'a settlement that was refused counts as paid',
    rule: 'I1',
    file: 'src/plugin/money.ts',
    find: '{ isSettled: false, error: delivered.error }',
    replace: '{ isSettled: true, error: delivered.error }',
    by: { sim: 80 }
  },
  {
    name: 'an automatic settlement leaves no room for what is held',
    rule: 'I5',
    file: 'src/plugin/money.ts',
    find: 'least(automatic.target - account.ledger.position, account.ledger.roomBelowMaximum)',
    replace: '(automatic.target - account.ledger.position)',
    by: { test: 'test/plugin/money-faults.test.ts' }
  },
  {
    name: 'the module has two claims at a time',
    rule: 'H16',
    file: 'src/plugin/incoming-claims.ts',
    find: 'return this.#turns.take(() => this.#options.module.handleIncomingClaim(claim))',
    replace: 'return Promise.resolve().then(() => this.#options.module.handleIncomingClaim(claim))',
    by: { test: 'test/plugin/settlement.test.ts' }
  },
  {
    name: 'the journal is written after the keys',
    rule: 'H6',
    file: 'src/store/key-value.ts',
    find: 'await this.#writeJournal(writes)\n',
    replace: 'for (const [key, value] of writes) await this.#writeHost(key, value)\n      await this.#writeJournal(writes)\n',
    by: { sim: 30 }
  },
  {
    name: 'a journal that is found is not completed',
    rule: 'H6',
    file: 'src/store/key-value.ts',
    find: 'this.#landed = new Map(journal?.writes)',
    replace: 'this.#landed = new Map()',
    by: { sim: 130 }
  },
  {
    name: 'a journal goes before its keys are written',
    rule: 'H6',
    file: 'src/store/key-value.ts',
    find: '|| this.#landed.size > 0 ||',
    replace: '||',
    by: { test: 'test/store/key-value.test.ts' }
  },
  {
    name: 'a plain store does not look at guards',
    rule: 'H8',
    file: 'src/store/key-value.ts',
    find: 'held[index] !== expected)',
    replace: "held[index] === '' && expected === '')",
    by: { test: 'test/store/key-value.test.ts' }
  },
  {
    name: 'the last put of a batch is dropped',
    rule: 'H6',
    file: 'src/store/key-value.ts',
    find: 'writes: [...writes] }',
    replace: 'writes: [...writes].slice(0, -1) }',
    by: { sim: 10 }
  },
  {
    name: 'the index of a plain store loses its order',
    rule: 'H5',
    file: 'src/store/key-tree.ts',
    find: 'this.#edit(leaf.id).keys.splice(leaf.index, 0, key)',
    replace: 'this.#edit(leaf.id).keys.push(key)',
    by: { test: 'test/store/key-tree.test.ts' }
  },
  {
    name: 'a store lists in another order',
    rule: 'H5',
    file: 'src/store/sorted.ts',
    find: "(sorted[middle] ?? '') < key",
    replace: "(sorted[middle] ?? '') <= key",
    by: { test: 'test/store/memory.test.ts' }
  },
  {
    name: 'lmdb does not look at guards',
    rule: 'H8',
    file: 'src/store/lmdb.ts',
    find: 'if (database.get(encodeKey(key)) !== expected) return false',
    replace: "if (expected === '') return false",
    by: { test: 'test/store/lmdb.test.ts' }
  },
  {
    name: 'a newer connection of the same side is ignored',
    rule: 'H36',
    file: 'src/btp/election.ts',
    find: "if (older.dialled === newer.dialled) return 'newer'",
    replace: "if (older.dialled === newer.dialled) return 'older if alive'",
    by: { test: 'test/btp/election.test.ts' }
  },
  {
    name: 'each side keeps the connection that it dialled',
    rule: 'I8',
    file: 'src/btp/election.ts',
    find: 'const weDial = ourLedgerId > newer.peerLedgerId',
    replace: 'const weDial = ourLedgerId !== newer.peerLedgerId',
    by: { test: 'test/btp/link-races.test.ts' }
  },
  {
    name: 'the answer of the older connection is not awaited',
    rule: 'H36',
    file: 'src/btp/link.ts',
    find: 'const alive = await older.probe()',
    replace: 'const alive = await Promise.resolve(true)',
    by: { test: 'test/btp/link.test.ts' }
  },
  {
    name: 'whoever comes is let in',
    rule: 'H29',
    file: 'src/btp/link.ts',
    find: "!== true) return 'stranger'",
    replace: "=== undefined) return 'stranger'",
    by: { test: 'test/btp/link.test.ts' }
  },
  {
    name: 'two requests in flight have one id',
    rule: 'H27',
    file: 'src/btp/session.ts',
    find: 'this.#nextId = (requestId + 1) >>> 0\n    const packet',
    replace: 'this.#nextId = 0\n    this.#pending.delete(0)\n    const packet',
    by: { test: 'test/btp/session.test.ts' }
  },
  {
    name: 'any connection may answer',
    rule: 'H27',
    file: 'src/btp/session.ts',
    find: 'readonly #pending = passingMap<number, Pending>()',
    replace: 'readonly #pending = ((globalThis as { pending?: ReturnType<typeof passingMap<number, Pending>> }).pending ??= passingMap<number, Pending>())',
    by: { test: 'test/btp/session-model.test.ts' }
  },
  {
    name: 'the answer is listened for after the request was sent',
    rule: 'H27',
    file: 'src/btp/session.ts',
    find: "this.#pending.set(requestId, { timeoutMs, answered, failed })\n    this.#trace('to', body.type, requestId)\n    this.#send(packet, frame)",
    replace: "this.#trace('to', body.type, requestId)\n    this.#send(packet, frame)\n    this.#pending.set(requestId, { timeoutMs, answered, failed })",
    by: { test: 'test/btp/session.test.ts' }
  },
  {
    name: 'what was asked waits on though the connection is gone',
    rule: 'H26',
    file: 'src/btp/session.ts',
    find: 'this.#failPending(reason)\n    for',
    replace: 'for',
    by: { test: 'test/btp/session.test.ts' }
  },
  {
    name: 'nobody looks for the answer of a heartbeat',
    rule: 'H36',
    file: 'src/btp/session.ts',
    find: 'if (heard || !judged) this.#armHeartbeat',
    replace: 'if (heard || judged || !judged) this.#armHeartbeat',
    by: { test: 'test/btp/session.test.ts' }
  },
  {
    name: "a connection's name is logged as it came",
    rule: 'H32',
    file: 'src/btp/session.ts',
    find: 'this.label = printable(connection.label)',
    replace: 'this.label = connection.label',
    by: { test: 'test/btp/session.test.ts' }
  },
  {
    name: "a peer's text is logged as it came",
    rule: 'H32',
    file: 'src/btp/session.ts',
    find: 'message: printable(decodeErrorData(data), 1000) })',
    replace: 'message: decodeErrorData(data) })',
    by: { test: 'test/btp/session.test.ts' }
  },
  {
    name: 'a stranger may stay before the door',
    rule: 'H22',
    file: 'src/btp/doorkeeper.ts',
    find: "() => { this.#leave('no authentication in time') }",
    replace: '() => undefined',
    by: { test: 'test/btp/doorkeeper.test.ts' }
  },
  {
    name: 'any number of strangers may wait',
    rule: 'H38',
    file: 'src/btp/doorkeeper.ts',
    find: 'if (this.#visitors.size <= this.#maxUnauthenticated) break',
    replace: 'if (this.#visitors.size <= 2 * this.#maxUnauthenticated) break',
    by: { test: 'test/btp/doorkeeper.test.ts' }
  },
  {
    name: 'all dial again at the same moments',
    rule: 'H36',
    file: 'src/btp/dialler.ts',
    find: 'least + randomFraction(random) * (bound - least)',
    replace: 'bound',
    by: { test: 'test/btp/link.test.ts' }
  },
  {
    name: 'a token is compared by its beginning',
    rule: 'H18',
    file: 'src/plugin/authenticator.ts',
    find: 'equalInConstantTime(secret, token)',
    replace: 'token.startsWith(secret)',
    by: { test: 'test/plugin/authenticator.test.ts' }
  },
  {
    name: 'a timer beyond 2^31 ms fires at once',
    rule: 'H12',
    file: 'src/platform/system-clock.ts',
    find: 'if (delayMs > LONGEST_TIMEOUT_MS) return',
    replace: 'if (delayMs === Infinity) return',
    by: { test: 'test/platform/platform.test.ts' }
  },
  {
    name: 'a timer that was replaced fires',
    rule: 'H11',
    file: 'src/core/timers.ts',
    find: 'if (this.#timers.get(key) !== shared) continue',
    replace: '',
    by: { test: 'test/core/timers.test.ts' }
  },
  {
    name: 'control characters are printable',
    rule: 'H32',
    file: 'src/core/bytes.ts',
    find: '/[^\\x20-\\x7e]/g',
    replace: '/[^\\x00-\\x7e]/g',
    by: { test: 'test/core/bytes.test.ts' }
  },
  {
    name: '__proto__ is a name like any other',
    rule: 'H37',
    file: 'src/btp/protocol-data.ts',
    find: 'if (/__proto__|\\\\u/.test(source) && hasProtoKey(value))',
    replace: 'if (/__proto__/.test(source) && hasProtoKey(value))',
    by: { test: 'test/btp/protocol-data.test.ts' }
  },
  {
    name: 'an amount may be 2^64',
    rule: 'H21',
    file: 'src/core/amounts.ts',
    find: 'if (amount >= AMOUNT_LIMIT)',
    replace: 'if (amount > AMOUNT_LIMIT)',
    by: { test: 'test/plugin/lpi-checks.test.ts' }
  },
  {
    name: 'a session that is lost is not replaced',
    rule: 'I8',
    file: 'src/btp/link.ts',
    find: 'else this.#dialler.beginLater(this.#hasLasted)',
    replace: '',
    by: { test: 'test/btp/session-model.test.ts' }
  },
  {
    name: 'time runs on for what has ended',
    rule: 'H26',
    file: 'src/btp/session.ts',
    find: 'this.#timeOuts.cancelAll()\n',
    replace: '',
    by: { test: 'test/btp/session.test.ts' }
  },
  {
    name: 'an answer goes to whoever asked first',
    rule: 'H27',
    file: 'src/btp/session.ts',
    find: 'const pending = this.#pending.get(packet.requestId)',
    replace: 'const [pending] = this.#pending.values()',
    by: { test: 'test/btp/session-model.test.ts' }
  },
  {
    name: 'two that listen and dial keep their names when one has lost its ledger',
    rule: 'I1',
    file: 'src/plugin/identity.ts',
    find: 'if (this.#isFixed || (peerId === undefined && this.#role !== undefined)) return',
    replace: 'if (this.#role !== undefined) return',
    by: { test: 'test/plugin/identity.test.ts' }
  },
  {
    name: 'what comes late from books that are gone is taken',
    rule: 'I1',
    file: 'src/btp/link.ts',
    find: 'if (ledgerId !== undefined && ![ledgerId, undefined].includes(other.peer.ledgerId)) other.terminate(TAKEN_OVER)',
    replace: 'void other',
    by: { test: 'test/btp/link.test.ts', only: 'from a peer that has other books' }
  },
  {
    name: 'books are told to who has lost its own before what came from those is stored',
    rule: 'I1',
    file: 'src/plugin/reconcile.ts',
    find: '      await this.#options.records.submit(() => undefined)\n',
    replace: '',
    by: { test: 'test/plugin/recovery.test.ts', only: 'is told to whoever takes them over' }
  },
  {
    name: 'what waited until the books were compared is taken, though its ledger is gone',
    rule: 'I1',
    file: 'src/plugin/lifecycle.ts',
    find: "if (session.peer.ledgerId !== this.#peerLedgerId) throw new UnreachableError('the ledger is gone that sent it')",
    replace: '',
    by: { sim: 400 }
  },
  {
    name: 'books are told before all has landed that their peer was told',
    rule: 'I1',
    file: 'src/plugin/reconcile.ts',
    find: 'if (this.#options.account.retries > 0)',
    replace: 'if (this.#options.account.retries < 0)',
    by: { test: 'test/plugin/recovery.test.ts', only: 'is in what they are filled from' }
  },
  {
    name: 'a settlement is credited though its session is gone, and with it perhaps its ledger',
    rule: 'I1',
    file: 'src/plugin/money.ts',
    find: 'if (number !== undefined && session.closed)',
    replace: 'if (number === -1)',
    by: { test: 'test/plugin/recovery-faults.test.ts', only: 'is not credited behind the comparison' }
  },
  {
    name: 'whoever loses the store while it disconnects goes on trading',
    rule: 'H8',
    file: 'src/plugin/lifecycle.ts',
    find: 'void this.#link?.stop()\n      return',
    replace: 'return',
    by: { test: 'test/plugin/disconnecting.test.ts', only: 'closes the connection' }
  },
  {
    name: 'a Fulfill is refused while the module disconnects',
    rule: 'I4',
    file: 'src/plugin/lifecycle.ts',
    find: "else this.#phase = 'disconnecting'",
    replace: "this.#phase = 'disconnecting'",
    by: { test: 'test/plugin/disconnecting.test.ts', only: 'is honoured' }
  },
  {
    name: 'a dispute is told that another owner of the store has moved on',
    rule: 'I7',
    file: 'src/plugin/reconcile.ts',
    find: 'if (this.#record() !== before && !await this.#write()) return true',
    replace: 'if (this.#record() !== before) await this.#write()',
    by: { test: 'test/plugin/other-owner.test.ts', only: 'tells the host of no dispute' }
  },
  {
    name: 'a store that was taken for a write is not looked at again',
    rule: 'H8',
    file: 'src/ledger/committer.ts',
    find: '    await this.#takeOnce()\n  }\n\n  /**\n   * As',
    replace: '    if (!this.owns) await this.#takeOnce()\n  }\n\n  /**\n   * As',
    by: { test: 'test/plugin/other-owner.test.ts', only: 'is taken anew' }
  },
  {
    name: 'what is written by a wrapper that was closed lands behind the next one',
    rule: 'H6',
    file: 'src/store/key-value.ts',
    find: 'if (before !== undefined) this.#tail = before.#tail',
    replace: '',
    by: { test: 'test/store/key-value.test.ts', only: 'wait for what was being written' }
  },
  {
    name: 'a Fulfill that the store did not take is forgotten when its time is over',
    rule: 'I4',
    file: 'src/plugin/outgoing.ts',
    find: "flight?.fulfill?.(view) ?? view.move(entry, 'cancelled', { report: 'cancel' })",
    replace: "view.move(entry, 'cancelled', { report: 'cancel' })",
    by: { sim: 1200 }
  },
  {
    name: 'what was paid counts against the minimum where books are taken over',
    rule: 'I8',
    file: 'src/plugin/recovery.ts',
    find: '- (proven === Infinity ? settledIn : 0n)',
    replace: '- settledIn',
    by: { test: 'test/plugin/recovery.test.ts' }
  },
  {
    name: 'settlements are numbered from the store alone',
    rule: 'I1',
    file: 'src/plugin/money.ts',
    find: 'Math.max(this.#lastNumber + 1, Math.floor(this.#options.account.clock.now()))',
    replace: 'this.#lastNumber + 1',
    by: { test: 'test/plugin/money-faults.test.ts', only: 'an older copy of the store' }
  },
  {
    name: 'a link outlives the ledger that it was made for',
    rule: 'I1',
    file: 'src/plugin/lifecycle.ts',
    find: 'if (this.#link === undefined || ledgerId !== this.#linkedId)',
    replace: 'if (this.#link === undefined)',
    by: { test: 'test/plugin/recovery.test.ts', only: 'emptied under the plugin' }
  },
  {
    name: 'a peer that lost its books once is never traded with again',
    rule: 'I8',
    file: 'src/plugin/reconcile.ts',
    find: 'return this.#newOn !== undefined && this.#newOn === this.#options.account.session()',
    replace: 'return this.#newOn !== undefined',
    by: { test: 'test/plugin/reconcile.test.ts', only: 'says that its books are new' }
  },
  {
    name: 'a dispute is told by nobody where the process died before',
    rule: 'I9',
    file: 'src/plugin/incoming.ts',
    find: "      if (entry.stage === 'disputed') reportDisputed(this.#account, entry.id)\n",
    replace: '',
    by: { test: 'test/plugin/resume.test.ts', only: 'between the dispute and its event' }
  },
  {
    name: 'what the sender said of a dispute is not kept',
    rule: 'I9',
    file: 'src/ledger/draft.ts',
    find: 'evidenceOf(entry, { ...entry.open, ...open })',
    replace: 'evidenceOf(entry, entry.open)',
    by: { test: 'test/plugin/incoming.test.ts', only: 'evidence kept' }
  },
  {
    name: 'what a peer had acknowledged before it lost its books is not offered again',
    rule: 'I8',
    file: 'src/plugin/reconcile.ts',
    find: '      this.#options.onPeerNew()\n',
    replace: '',
    by: { test: 'test/plugin/recovery.test.ts', only: 'comes again' }
  },
  {
    name: 'what is offered again and refused is released',
    rule: 'I4',
    file: 'src/plugin/outgoing.ts',
    find: '      flight.resumed = true\n',
    replace: '',
    by: { test: 'test/plugin/recovery.test.ts', only: 'keeps its hold' }
  },
  {
    name: 'an open transfer without a time is taken from the store',
    rule: 'H8',
    file: 'src/plugin/account.ts',
    find: ' || Number.isNaN(Date.parse(String(expiresAt)))',
    replace: '',
    by: { test: 'test/plugin/damaged.test.ts', only: 'parses, but is none' }
  },
  {
    name: 'a preimage is not looked at when it is read',
    rule: 'H8',
    file: 'src/plugin/account.ts',
    find: '  if (isDecided && conditionOf',
    replace: '  if (!isDecided && conditionOf',
    by: { test: 'test/plugin/damaged.test.ts', only: 'parses, but is none' }
  },
  {
    name: 'a module waits for a store that hangs',
    rule: 'H7',
    file: 'src/ledger/committer.ts',
    find: 'reject, overdue: reject })',
    replace: 'reject })',
    by: { test: 'test/plugin/store-hangs.test.ts', only: 'what a module stores' }
  },
  {
    name: 'connect succeeds while the store hangs that is to be filled',
    rule: 'H7',
    file: 'src/plugin/lifecycle.ts',
    find: 'return error instanceof UnreachableError || (error instanceof PaychanError && error.fromPeer && isTemporary(error))',
    replace: 'return isTemporary(error)',
    by: { test: 'test/plugin/store-hangs.test.ts', only: 'by who dials' }
  },
  {
    name: 'what is in flight in books that were filled late is not taken up',
    rule: 'I8',
    file: 'src/plugin/recovery.ts',
    find: ', group => { group.onDurable(onFilled) }',
    replace: '',
    by: { test: 'test/plugin/store-hangs.test.ts', only: 'by who listens' }
  },
  {
    name: "the peer's books are taken though they changed between two pages",
    rule: 'I1',
    file: 'src/plugin/recovery.ts',
    find: 'if (page !== undefined && sumsOf(page.report) !== sumsOf(next.report))',
    replace: 'if (false)',
    by: { test: 'test/plugin/recovery.test.ts' }
  },
  {
    name: 'a lease is taken from whoever has not found the mark of who waits',
    rule: 'H6',
    file: 'src/plugin/lease.ts',
    find: 'wasMarked ? this.#silentLooks + 1 : 0',
    replace: 'this.#silentLooks + 1',
    by: { test: 'test/plugin/lease.test.ts' }
  },
  {
    name: 'a lease is renewed that another one has',
    rule: 'H6',
    file: 'src/plugin/lease.ts',
    find: '    if (text !== this.#text && (text === undefined || parseMessage(text)?.from !== this.#options.id)) return false\n',
    replace: '',
    by: { test: 'test/plugin/lease.test.ts' }
  },
  {
    name: 'two take a lease at once',
    rule: 'H6',
    file: 'src/plugin/lease.ts',
    find: 'deletes: [WAITING_KEY], guards: [[LEASE_KEY, before]]',
    replace: 'deletes: [WAITING_KEY]',
    by: { test: 'test/plugin/lease.test.ts' }
  },
  {
    name: 'a lease outlives a store that does not answer',
    rule: 'H6',
    file: 'src/plugin/lease.ts',
    find: 'const cancelEnd = this.#endIn(() => { this.#lose(turn, NO_ANSWER) })',
    replace: 'const cancelEnd = this.#endIn(() => undefined)',
    by: { test: 'test/plugin/lease.test.ts' }
  },
  {
    name: 'a lease is left behind by whoever goes',
    rule: 'H6',
    file: 'src/plugin/lease.ts',
    find: "    if (place === 'held') await this.#remove(LEASE_KEY, text)\n",
    replace: '',
    by: { test: 'test/plugin/lease.test.ts' }
  },
  {
    name: 'IndexedDB commits though a guard does not hold',
    rule: 'H6',
    file: 'src/store/indexed-db.ts',
    find: 'if (!await holding) {',
    replace: 'if (await holding === undefined) {',
    by: { test: 'e2e/indexed-db.test.ts', only: 'loses no increment' }
  },
  {
    name: 'IndexedDB answers before the transaction is complete',
    rule: 'I7',
    file: 'src/store/indexed-db.ts',
    find: '    await completed\n    return true',
    replace: '    if (puts.length === 0) await completed\n    return true',
    by: { test: 'e2e/indexed-db.test.ts', only: 'no space left' }
  },
  {
    name: 'IndexedDB says that nothing was written where it may have been',
    rule: 'H6',
    file: 'src/store/indexed-db.ts',
    find: "throw new StoreError(reasonOf(cause), { cause, outcome: 'unknown' })",
    replace: 'throw new StoreError(reasonOf(cause), { cause })',
    by: { test: 'e2e/indexed-db.test.ts', only: 'does not claim to know of writes' }
  },
  {
    name: 'lmdb says that nothing was written where it may have been',
    rule: 'H6',
    file: 'src/store/lmdb.ts',
    find: "return new StoreError(message, { cause, outcome: 'unknown' })",
    replace: 'return new StoreError(message, { cause })',
    by: { test: 'test/store/lmdb.test.ts' }
  },
  {
    name: 'lmdb does not see what another process wrote in the same turn',
    rule: 'H6',
    file: 'src/store/lmdb.ts',
    find: '      database.resetReadTxn()\n      return read()',
    replace: '      return read()',
    by: { test: 'test/store/lmdb.test.ts' }
  },
  {
    name: 'a listener takes frames of any size',
    rule: 'H38',
    file: 'src/transport/listener.ts',
    find: 'maxPayload = MAX_PAYLOAD',
    replace: 'maxPayload = 2 ** 30',
    by: { test: 'test/transport/listener.test.ts' }
  },
  {
    name: 'strangers may stay at a listener for ever',
    rule: 'C14',
    file: 'src/transport/listener.ts',
    find: 'setTimeout(() => { socket.destroy() }, this.#timeoutMs)',
    replace: 'setTimeout(() => undefined, this.#timeoutMs)',
    by: { test: 'test/transport/listener.test.ts' }
  },
  {
    name: 'a listener holds any number of strangers',
    rule: 'H35',
    file: 'src/transport/listener.ts',
    find: '      if (this.#sockets.size <= this.#most) break\n',
    replace: '      if (this.#sockets.size > 0) break\n',
    by: { test: 'test/transport/listener.test.ts' }
  },
  {
    name: 'a listener that is closed keeps its connections',
    rule: 'H30',
    file: 'src/transport/listener.ts',
    find: '      for (const socket of sockets.clients) socket.terminate()\n',
    replace: '',
    by: { test: 'test/transport/listener.test.ts' }
  },
  {
    name: 'what a host has decided about a difference is not stored',
    rule: 'I7',
    file: 'src/plugin/reconcile.ts',
    find: '      records.put(group, RECORD, textOfRecord([...this.#open].filter(stays), acceptedBy()))\n',
    replace: '',
    by: { test: 'test/plugin/balance-disputes-soak.test.ts' }
  }
]
