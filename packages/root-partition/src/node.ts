/**
 * The root partition's parts that need Node.
 * @packageDocumentation
 */

export { isPath, NodePackageSource, type NodePackageSourceOptions } from './package-source.node.ts'
export { NodePluginTracker } from './plugin-tracker.node.ts'
