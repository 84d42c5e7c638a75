export class BigNumber {
  constructor(text: string)
  isInteger(): boolean
  toFixed(): string
}
