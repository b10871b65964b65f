import { expect, test } from 'vitest'
import { UsageError } from '../arguments.ts'
import { DISK_JOBS } from '../storage/jobs.ts'
import { chosenJobs } from './job.ts'
import { PROCESSOR_JOBS } from './processor-jobs.ts'

const JOBS = [...PROCESSOR_JOBS, ...DISK_JOBS]
const labels = (...only: string[]): string[] => chosenJobs(JOBS, only).map(({ label }) => label)

test('without a choice all are done', () => {
  expect(chosenJobs(JOBS, undefined)).toBe(JOBS)
})

test('a part stands for what has all of its words, and several parts for what any of them stands for', () => {
  expect(labels('4 KiB random read 32')).toEqual(['4 KiB random read, depth 32'])
  expect(labels('shell', '4 KiB write')).toEqual([
    'rounds of a loop in the shell',
    '4 KiB random write, depth 1',
    '4 KiB random write, depth 32',
  ])
})

test('a part may name the group', () => {
  expect(labels('processor')).toEqual(PROCESSOR_JOBS.map(({ label }) => label))
  expect(labels('disk')).toEqual(DISK_JOBS.map(({ label }) => label))
})

test('what stands for nothing is refused, with what there is', () => {
  expect(() => labels('1 MiB')).toThrow(UsageError)
  expect(() => labels('1 MiB')).toThrow('128 KiB sequential write, depth 32')
})
