/**
 * What a virtual switch has on a host with Node: files for captures.
 *
 * @packageDocumentation
 */
export { type CaptureFile, openCaptureFile } from './capture-file.node.ts'
