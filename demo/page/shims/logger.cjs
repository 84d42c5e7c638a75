/** In the place of ilp-logger: the page's log of packets tells more. */
const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, extend: () => silent }

const createLogger = () => silent
createLogger.default = createLogger
createLogger.formatters = {}

module.exports = createLogger
