/** `UTC:yyyymmddHHMMss.l'Z'`, of a date or of a text that Date reads. */
export default function format(date: Date | string): string
