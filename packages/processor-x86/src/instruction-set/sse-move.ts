// Moves of XMM registers (SDM vol. 1, 5.5.1.1, 5.6.1.1, 5.6.3 and later): whole and partial registers, masks of signs, non-temporal stores,
// which are ordinary stores here.

import { type InstructionDefinition, instruction, type Semantics } from '../instruction/definition.ts'
import { type Expr, type InstructionEmitter, i64, simd, v128 } from '../instruction/emitter.ts'
import { GPR } from '../state-layout.ts'
import { fromLow, shuffle, sse, unary, ZERO_VECTOR } from './vector.ts'

const move: Semantics = (e) => e.writeVector(0, e.readVector(1))

/** MOVSS, MOVSD load: memory clears the rest, a register keeps it. */
const loadScalar =
  (bytes: 4 | 8): Semantics =>
  (e) => {
    if (e.isMemory(1)) e.writeVector(0, e.readVector(1))
    else e.writeVectorLow(0, bytes, e.readVectorLow(1, bytes))
  }
const storeScalar =
  (bytes: 4 | 8): Semantics =>
  (e) =>
    e.writeVectorLow(0, bytes, e.readVectorLow(1, bytes))
/** MOVQ: the upper half of a register becomes 0. */
const moveQuadword: Semantics = (e) => {
  const value = e.readVectorLow(1, 8)
  if (e.isMemory(0)) e.writeVectorLow(0, 8, value)
  else e.writeVector(0, fromLow(value))
}

const loadHigh: Semantics = (e) => e.writeVectorHigh(0, e.readVectorLow(1, 8))
const storeHigh: Semantics = (e) => e.writeVectorLow(0, 8, e.readVectorHigh(1))
const highToLow: Semantics = (e) => e.writeVectorLow(0, 8, e.readVectorHigh(1))

const fromGeneral: Semantics = (e) => e.writeVector(0, fromLow(e.read(1)))
const toGeneral: Semantics = (e) => e.write(0, e.readVectorLow(1, e.size(0)))

/** MOVDDUP: the low quadword in both halves. */
const duplicateQuadword: Semantics = (e) => e.writeVector(0, simd['i64x2.splat'](e.readVectorLow(1, 8)))

/** MOVMSKPS, MOVMSKPD, PMOVMSKB: the sign of each lane. */
const signs =
  (lane: 'i8x16' | 'i32x4' | 'i64x2'): Semantics =>
  (e) =>
    e.write(0, i64.extend_i32_u(simd[`${lane}.bitmask`](e.readVector(1))))

/** MOVNTI. */
const storeGeneral: Semantics = (e) => e.write(0, e.read(1))

/** The bytes of `value` whose byte in `mask` is negative, to DS:rDI (or the overriding segment); `bytes` 8: the low halves. */
export function storeMasked(e: InstructionEmitter, bytes: 8 | 16, value: Expr, mask: Expr): void {
  const chosen = e.let(simd['i8x16.lt_s'](mask, ZERO_VECTOR))
  e.if(simd['v128.any_true'](chosen), () => {
    const offset = e.let(i64.and(e.gpr(GPR.RDI), e.addressMask()))
    const address = e.segmentAddress('instruction', offset, bytes, 'write')
    e.modifyMemory(address, bytes, (host) => {
      if (bytes === 16) e.do(v128.store(host, v128.bitselect(value, v128.load(host), chosen)))
      else e.do(i64.store(host, simd['i64x2.extract_lane'](v128.bitselect(value, v128.load64_zero(host), chosen), 0)))
    })
  })
}
/** MASKMOVDQU. */
const moveMasked: Semantics = (e) => storeMasked(e, 16, e.readVector(0), e.readVector(1))

const UNALIGNED = { aligned: false } as const

export const SSE_MOVE: readonly InstructionDefinition[] = [
  sse('MOVAPS', 'NP 0F 28 /r', 'Vps Wps', move),
  sse('MOVAPS', 'NP 0F 29 /r', 'Wps Vps', move),
  sse('MOVAPD', '66 0F 28 /r', 'Vpd Wpd', move),
  sse('MOVAPD', '66 0F 29 /r', 'Wpd Vpd', move),
  sse('MOVDQA', '66 0F 6F /r', 'Vx Wx', move),
  sse('MOVDQA', '66 0F 7F /r', 'Wx Vx', move),
  sse('MOVUPS', 'NP 0F 10 /r', 'Vps Wps', move, UNALIGNED),
  sse('MOVUPS', 'NP 0F 11 /r', 'Wps Vps', move, UNALIGNED),
  sse('MOVUPD', '66 0F 10 /r', 'Vpd Wpd', move, UNALIGNED),
  sse('MOVUPD', '66 0F 11 /r', 'Wpd Vpd', move, UNALIGNED),
  sse('MOVDQU', 'F3 0F 6F /r', 'Vx Wx', move, UNALIGNED),
  sse('MOVDQU', 'F3 0F 7F /r', 'Wx Vx', move, UNALIGNED),
  sse('LDDQU', 'F2 0F F0 /r', 'Vx Mdq', move, UNALIGNED),
  sse('MOVNTPS', 'NP 0F 2B /r', 'Mdq Vps', move),
  sse('MOVNTPD', '66 0F 2B /r', 'Mdq Vpd', move),
  sse('MOVNTDQ', '66 0F E7 /r', 'Mdq Vx', move),
  sse('MOVNTDQA', '66 0F 38 2A /r', 'Vx Mdq', move),
  instruction('MOVNTI', 'NP 0F C3 /r', 'My Gy', storeGeneral),

  sse('MOVSS', 'F3 0F 10 /r', 'Vx Wss', loadScalar(4)),
  sse('MOVSS', 'F3 0F 11 /r', 'Wss Vss', storeScalar(4)),
  sse('MOVSD', 'F2 0F 10 /r', 'Vx Wsd', loadScalar(8)),
  sse('MOVSD', 'F2 0F 11 /r', 'Wsd Vsd', storeScalar(8)),
  sse('MOVQ', 'F3 0F 7E /r', 'Vq Wq', moveQuadword),
  sse('MOVQ', '66 0F D6 /r', 'Wq Vq', moveQuadword),
  sse('MOVD', '66 0F 6E /r', 'Vdq Ey', fromGeneral),
  sse('MOVD', '66 0F 7E /r', 'Ey Vdq', toGeneral),

  sse('MOVLPS', 'NP 0F 12 /r', 'Vq Mq', storeScalar(8)),
  sse('MOVHLPS', 'NP 0F 12 /r', 'Vq Uq', highToLow),
  sse('MOVLPS', 'NP 0F 13 /r', 'Mq Vq', storeScalar(8)),
  sse('MOVLPD', '66 0F 12 /r', 'Vq Mq', storeScalar(8)),
  sse('MOVLPD', '66 0F 13 /r', 'Mq Vq', storeScalar(8)),
  sse('MOVHPS', 'NP 0F 16 /r', 'Vdq Mq', loadHigh),
  sse('MOVLHPS', 'NP 0F 16 /r', 'Vdq Uq', loadHigh),
  sse('MOVHPS', 'NP 0F 17 /r', 'Mq Vdq', storeHigh),
  sse('MOVHPD', '66 0F 16 /r', 'Vdq Mq', loadHigh),
  sse('MOVHPD', '66 0F 17 /r', 'Mq Vdq', storeHigh),
  sse(
    'MOVSLDUP',
    'F3 0F 12 /r',
    'Vps Wps',
    unary((a) => shuffle(4, a, a, [0, 0, 2, 2])),
  ),
  sse(
    'MOVSHDUP',
    'F3 0F 16 /r',
    'Vps Wps',
    unary((a) => shuffle(4, a, a, [1, 1, 3, 3])),
  ),
  sse('MOVDDUP', 'F2 0F 12 /r', 'Vpd Wq', duplicateQuadword),

  sse('MOVMSKPS', 'NP 0F 50 /r', 'Gd Ups', signs('i32x4')),
  sse('MOVMSKPD', '66 0F 50 /r', 'Gd Upd', signs('i64x2')),
  sse('PMOVMSKB', '66 0F D7 /r', 'Gd Ux', signs('i8x16')),
  sse('MASKMOVDQU', '66 0F F7 /r', 'Vdq Udq', moveMasked),
]
