// Expected bytes: GNU as 2.40 (`.intel_syntax noprefix`, with `{disp32}` or `{disp16}` where the long form is meant), linked at 0x7C00 with the label
// `target` four bytes after the instruction. What executes is then the assembler's own business.

import { describe, expect, test } from 'vitest'
import { Assembler, byte, type CodeBits, dword, mem, qword, ref, word } from '../src/assembler.ts'

const ORIGIN = 0x7c00
type Case = readonly [bits: CodeBits, text: string, build: (a: Assembler) => unknown, bytes: string]

const CASES: readonly Case[] = [
  [64, 'mov al, 0x12', (a) => a.mov('al', 0x12), 'b012'],
  [64, 'mov ah, 0x12', (a) => a.mov('ah', 0x12), 'b412'],
  [64, 'mov sil, 1', (a) => a.mov('sil', 1), '40b601'],
  [64, 'mov r9b, 1', (a) => a.mov('r9b', 1), '41b101'],
  [64, 'mov r10w, 0x1234', (a) => a.mov('r10w', 0x1234), '6641ba3412'],
  [64, 'mov ebx, 0x12345678', (a) => a.mov('ebx', 0x12345678), 'bb78563412'],
  [64, 'mov rax, -1', (a) => a.mov('rax', -1), '48c7c0ffffffff'],
  [64, 'mov r15, 0x7fffffff', (a) => a.mov('r15', 0x7fffffff), '49c7c7ffffff7f'],
  [64, 'movabs rdx, 0x123456789abcdef0', (a) => a.mov('rdx', 0x123456789abcdef0n), '48baf0debc9a78563412'],
  [64, 'mov rbx, r12', (a) => a.mov('rbx', 'r12'), '4c89e3'],
  [64, 'mov eax, [rbx]', (a) => a.mov('eax', mem('rbx')), '8b03'],
  [64, 'mov [rsp+8], rcx', (a) => a.mov(mem('rsp', 8), 'rcx'), '48894c2408'],
  [64, 'mov [rbp], r8', (a) => a.mov(mem('rbp'), 'r8'), '4c894500'],
  [64, 'mov [r13], r8w', (a) => a.mov(mem('r13'), 'r8w'), '6645894500'],
  [64, 'mov r12b, [r12+0x1234]', (a) => a.mov('r12b', mem('r12', 0x1234)), '458aa42434120000'],
  [
    64,
    'mov rax, [rbx+rcx*8-4]',
    (a) => a.mov('rax', mem({ base: 'rbx', index: 'rcx', scale: 8, displacement: -4 })),
    '488b44cbfc',
  ],
  [64, 'mov rax, [r13+r14*2]', (a) => a.mov('rax', mem({ base: 'r13', index: 'r14', scale: 2 })), '4b8b447500'],
  [
    64,
    'mov edx, [rcx*4+0x10]',
    (a) => a.mov('edx', mem({ index: 'rcx', scale: 4, displacement: 0x10 })),
    '8b148d10000000',
  ],
  [64, 'mov edx, [0x1000]', (a) => a.mov('edx', mem(0x1000)), '8b142500100000'],
  [
    64,
    'mov dword ptr gs:[0x28], 7',
    (a) => a.mov(dword({ displacement: 0x28, segment: 'gs' }), 7),
    '65c704252800000007000000',
  ],
  [64, 'mov rcx, fs:[rax]', (a) => a.mov('rcx', mem({ base: 'rax', segment: 'fs' })), '64488b08'],
  [64, 'mov eax, [ebx]', (a) => a.mov('eax', mem('ebx')), '678b03'],
  [64, 'mov byte ptr [rdi], 0xff', (a) => a.mov(byte('rdi'), 0xff), 'c607ff'],
  [64, 'mov qword ptr [rdi], -2', (a) => a.mov(qword('rdi'), -2), '48c707feffffff'],
  [64, 'mov word ptr [rdi], 0x1234', (a) => a.mov(word('rdi'), 0x1234), '66c7073412'],
  [64, 'mov ds, eax', (a) => a.mov('ds', 'eax'), '8ed8'],
  [64, 'mov ax, fs', (a) => a.mov('ax', 'fs'), '668ce0'],
  [64, 'mov eax, ss', (a) => a.mov('eax', 'ss'), '8cd0'],
  [64, 'mov word ptr [rbx], gs', (a) => a.mov(mem('rbx'), 'gs'), '8c2b'],
  [64, 'mov es, word ptr [rbx]', (a) => a.mov('es', mem('rbx')), '8e03'],
  [64, 'mov cr3, rax', (a) => a.mov('cr3', 'rax'), '0f22d8'],
  [64, 'mov rbx, cr4', (a) => a.mov('rbx', 'cr4'), '0f20e3'],
  [64, 'mov cr8, r9', (a) => a.mov('cr8', 'r9'), '450f22c1'],
  [64, 'mov dr7, rcx', (a) => a.mov('dr7', 'rcx'), '0f23f9'],
  [64, 'mov r8, dr6', (a) => a.mov('r8', 'dr6'), '410f21f0'],
  [64, 'lea rax, [rbx+rcx]', (a) => a.lea('rax', mem({ base: 'rbx', index: 'rcx' })), '488d040b'],
  [64, 'lea r9d, [rip+target]', (a) => a.lea('r9d', mem(ref('target'))), '448d0d04000000'],
  [64, 'cmp dword ptr [rip+target], 0x12345', (a) => a.cmp(dword(ref('target')), 0x12345), '813d0400000045230100'],
  [64, 'movzx eax, byte ptr [rsi]', (a) => a.movzx('eax', byte('rsi')), '0fb606'],
  [64, 'movzx r8, r9w', (a) => a.movzx('r8', 'r9w'), '4d0fb7c1'],
  [64, 'movzx eax, sil', (a) => a.movzx('eax', 'sil'), '400fb6c6'],
  [64, 'movsx edx, word ptr [rsi]', (a) => a.movsx('edx', word('rsi')), '0fbf16'],
  [64, 'movsxd rdx, ecx', (a) => a.movsxd('rdx', 'ecx'), '4863d1'],
  [64, 'xchg [rbx], ecx', (a) => a.xchg(mem('rbx'), 'ecx'), '870b'],
  [64, 'lock cmpxchg [rbx], rcx', (a) => a.lock().cmpxchg(mem('rbx'), 'rcx'), 'f0480fb10b'],
  [64, 'lock xadd [rbx], al', (a) => a.lock().xadd(mem('rbx'), 'al'), 'f00fc003'],
  [64, 'cmpxchg8b [rsi]', (a) => a.cmpxchg8b(mem('rsi')), '0fc70e'],
  [64, 'cmpxchg16b [r10]', (a) => a.cmpxchg16b(mem('r10')), '490fc70a'],
  [64, 'cmovne rax, r11', (a) => a.cmovcc('ne', 'rax', 'r11'), '490f45c3'],
  [64, 'setg byte ptr [rax]', (a) => a.setcc('g', byte('rax')), '0f9f00'],
  [64, 'setb dil', (a) => a.setcc('b', 'dil'), '400f92c7'],
  [64, 'add rax, 1', (a) => a.add('rax', 1), '4883c001'],
  [64, 'add eax, 0x1000', (a) => a.add('eax', 0x1000), '0500100000'],
  [64, 'sub rsp, 0x88', (a) => a.sub('rsp', 0x88), '4881ec88000000'],
  [64, 'and cl, 0xf0', (a) => a.and('cl', 0xf0), '80e1f0'],
  [64, 'or al, 0x80', (a) => a.or('al', 0x80), '0c80'],
  [64, 'xor r8d, r8d', (a) => a.xor('r8d', 'r8d'), '4531c0'],
  [64, 'adc word ptr [rbx], 0x1234', (a) => a.adc(word('rbx'), 0x1234), '6681133412'],
  [64, 'sbb [r9], dl', (a) => a.sbb(mem('r9'), 'dl'), '411811'],
  [64, 'cmp r10, [r11+r12]', (a) => a.cmp('r10', mem({ base: 'r11', index: 'r12' })), '4f3b1423'],
  [64, 'test eax, 0x100', (a) => a.test('eax', 0x100), 'a900010000'],
  [64, 'test byte ptr [rbx], 1', (a) => a.test(byte('rbx'), 1), 'f60301'],
  [64, 'test rcx, rdx', (a) => a.test('rcx', 'rdx'), '4885d1'],
  [64, 'inc r8', (a) => a.inc('r8'), '49ffc0'],
  [64, 'dec byte ptr [rbx]', (a) => a.dec(byte('rbx')), 'fe0b'],
  [64, 'not ecx', (a) => a.not('ecx'), 'f7d1'],
  [64, 'neg rcx', (a) => a.neg('rcx'), '48f7d9'],
  [64, 'mul r9', (a) => a.mul('r9'), '49f7e1'],
  [64, 'div word ptr [rbx]', (a) => a.div(word('rbx')), '66f733'],
  [64, 'idiv ecx', (a) => a.idiv('ecx'), 'f7f9'],
  [64, 'imul rbx', (a) => a.imul('rbx'), '48f7eb'],
  [64, 'imul eax, [rbx]', (a) => a.imul('eax', mem('rbx')), '0faf03'],
  [64, 'imul r8, r9, 10', (a) => a.imul('r8', 'r9', 10), '4d6bc10a'],
  [64, 'imul ax, cx, 0x1000', (a) => a.imul('ax', 'cx', 0x1000), '6669c10010'],
  [64, 'shl eax, 1', (a) => a.shl('eax', 1), 'd1e0'],
  [64, 'shr r9, 12', (a) => a.shr('r9', 12), '49c1e90c'],
  [64, 'sar byte ptr [rbx], cl', (a) => a.sar(byte('rbx'), 'cl'), 'd23b'],
  [64, 'rol ax, 4', (a) => a.rol('ax', 4), '66c1c004'],
  [64, 'ror rdx, cl', (a) => a.ror('rdx', 'cl'), '48d3ca'],
  [64, 'rcl ebx, 1', (a) => a.rcl('ebx', 1), 'd1d3'],
  [64, 'rcr bl, 2', (a) => a.rcr('bl', 2), 'c0db02'],
  [64, 'bt rax, rcx', (a) => a.bt('rax', 'rcx'), '480fa3c8'],
  [64, 'bts dword ptr [rbx], 5', (a) => a.bts(dword('rbx'), 5), '0fba2b05'],
  [64, 'btr [rbx], r8', (a) => a.btr(mem('rbx'), 'r8'), '4c0fb303'],
  [64, 'btc cx, 15', (a) => a.btc('cx', 15), '660fbaf90f'],
  [64, 'push rbx', (a) => a.push('rbx'), '53'],
  [64, 'push r12', (a) => a.push('r12'), '4154'],
  [64, 'push ax', (a) => a.push('ax'), '6650'],
  [64, 'push qword ptr [rbx+8]', (a) => a.push(qword('rbx', 8)), 'ff7308'],
  [64, 'push 5', (a) => a.push(5), '6a05'],
  [64, 'push 0x12345678', (a) => a.push(0x12345678), '6878563412'],
  [64, 'push fs', (a) => a.push('fs'), '0fa0'],
  [64, 'pop gs', (a) => a.pop('gs'), '0fa9'],
  [64, 'pop r15', (a) => a.pop('r15'), '415f'],
  [64, 'pop qword ptr [rax]', (a) => a.pop(qword('rax')), '8f00'],
  [64, '{disp32} jmp target', (a) => a.jmp('target'), 'e904000000'],
  [64, 'jmp rax', (a) => a.jmp('rax'), 'ffe0'],
  [64, 'jmp qword ptr [rbx+r9*8]', (a) => a.jmp(qword({ base: 'rbx', index: 'r9', scale: 8 })), '42ff24cb'],
  [64, 'jmp short target', (a) => a.jmpShort('target'), 'eb04'],
  [64, 'call target', (a) => a.call('target'), 'e804000000'],
  [64, 'call r10', (a) => a.call('r10'), '41ffd2'],
  [64, '{disp32} jne target', (a) => a.jcc('ne', 'target'), '0f8504000000'],
  [64, 'jae target', (a) => a.jccShort('ae', 'target'), '7304'],
  [64, 'loop target', (a) => a.loop('target'), 'e204'],
  [64, 'jrcxz target', (a) => a.jrcxz('target'), 'e304'],
  [64, 'ret 8', (a) => a.ret(8), 'c20800'],
  [64, 'rex.w retf', (a) => a.retf(64), '48cb'],
  [64, 'int 0x80', (a) => a.int(0x80), 'cd80'],
  [64, 'iretq', (a) => a.iret(), '48cf'],
  [64, 'in al, 0x60', (a) => a.in('al', 0x60), 'e460'],
  [64, 'in eax, dx', (a) => a.in('eax', 'dx'), 'ed'],
  [64, 'out 0xf4, eax', (a) => a.out(0xf4, 'eax'), 'e7f4'],
  [64, 'out dx, al', (a) => a.out('dx', 'al'), 'ee'],
  [64, 'out dx, ax', (a) => a.out('dx', 'ax'), '66ef'],
  [64, 'rep movsq', (a) => a.rep().movs(64), 'f348a5'],
  [64, 'rep stosb', (a) => a.rep().stos(8), 'f3aa'],
  [64, 'repne scasb', (a) => a.repne().scas(8), 'f2ae'],
  [64, 'lodsd', (a) => a.lods(32), 'ad'],
  [64, 'cmpsw', (a) => a.cmps(16), '66a7'],
  [64, 'insb', (a) => a.ins(8), '6c'],
  [64, 'outsd', (a) => a.outs(32), '6f'],
  [64, 'lgdt [rip+target]', (a) => a.lgdt(mem(ref('target'))), '0f011504000000'],
  [64, 'lidt [rax]', (a) => a.lidt(mem('rax')), '0f0118'],
  [64, 'sgdt [rsp]', (a) => a.sgdt(mem('rsp')), '0f010424'],
  [64, 'sidt [rsp+16]', (a) => a.sidt(mem('rsp', 16)), '0f014c2410'],
  [64, 'ltr ax', (a) => a.ltr('ax'), '0f00d8'],
  [64, 'lldt cx', (a) => a.lldt('cx'), '0f00d1'],
  [64, 'str eax', (a) => a.str('eax'), '0f00c8'],
  [64, 'sldt word ptr [rbx]', (a) => a.sldt(mem('rbx')), '0f0003'],
  [64, 'smsw rax', (a) => a.smsw('rax'), '480f01e0'],
  [64, 'lmsw bx', (a) => a.lmsw('bx'), '0f01f3'],
  [64, 'verr ax', (a) => a.verr('ax'), '0f00e0'],
  [64, 'verw word ptr [rax]', (a) => a.verw(mem('rax')), '0f0028'],
  [64, 'invlpg [rdi]', (a) => a.invlpg(mem('rdi')), '0f013f'],
  [64, 'syscall', (a) => a.syscall(), '0f05'],
  [64, 'sysretq', (a) => a.sysret(), '480f07'],
  [64, 'sysretd', (a) => a.sysret(32), '0f07'],
  [64, 'sysenter', (a) => a.sysenter(), '0f34'],
  [64, 'rex.w sysexit', (a) => a.sysexit(64), '480f35'],
  [64, 'swapgs', (a) => a.swapgs(), '0f01f8'],
  [64, 'wrmsr', (a) => a.wrmsr(), '0f30'],
  [64, 'vmcall', (a) => a.vmcall(), '0f01c1'],
  [64, 'jmp fword ptr [rax]', (a) => a.jmpFarIndirect(mem('rax')), 'ff28'],
  [64, 'movabs rax, offset target', (a) => a.mov('rax', ref('target')), '48b80e7c000000000000'],
  [64, '.quad target', (a) => a.qwords(ref('target')), '0c7c000000000000'],
  [32, 'mov ecx, [0x1000]', (a) => a.mov('ecx', mem(0x1000)), '8b0d00100000'],
  [32, 'mov cr0, eax', (a) => a.mov('cr0', 'eax'), '0f22c0'],
  [32, 'mov [ebx+esi*4], ax', (a) => a.mov(mem({ base: 'ebx', index: 'esi', scale: 4 }), 'ax'), '668904b3'],
  [32, 'mov eax, [bx+si+4]', (a) => a.mov('eax', mem({ base: 'bx', index: 'si', displacement: 4 })), '678b4004'],
  [32, 'mov eax, [bp]', (a) => a.mov('eax', mem('bp')), '678b4600'],
  [32, 'push 0x1234', (a) => a.push(0x1234), '6834120000'],
  [32, 'push es', (a) => a.push('es'), '06'],
  [32, 'pop ds', (a) => a.pop('ds'), '1f'],
  [32, 'push ebp', (a) => a.push('ebp'), '55'],
  [32, 'jmp 0x8:0x12345678', (a) => a.jmpFar(8, 0x12345678), 'ea785634120800'],
  [32, 'call 0x18:0x1000', (a) => a.callFar(0x18, 0x1000), '9a001000001800'],
  [32, 'jmp fword ptr [eax]', (a) => a.jmpFarIndirect(mem('eax'), 32), 'ff28'],
  [32, 'call fword ptr [0x2000]', (a) => a.callFarIndirect(mem(0x2000)), 'ff1d00200000'],
  [32, 'iretd', (a) => a.iret(), 'cf'],
  [32, 'iretw', (a) => a.iret(16), '66cf'],
  [32, 'retf', (a) => a.retf(), 'cb'],
  [32, 'pusha', (a) => a.pusha(), '60'],
  [32, 'popa', (a) => a.popa(), '61'],
  [32, 'leave', (a) => a.leave(), 'c9'],
  [32, 'lgdt [0x1234]', (a) => a.lgdt(mem(0x1234)), '0f011534120000'],
  [32, 'jecxz target', (a) => a.jrcxz('target'), 'e304'],
  [32, 'mov edi, offset target', (a) => a.mov('edi', ref('target')), 'bf097c0000'],
  [32, 'cmp word ptr [ebp-2], 1', (a) => a.cmp(word('ebp', -2), 1), '66837dfe01'],
  [16, 'mov ax, 0x1234', (a) => a.mov('ax', 0x1234), 'b83412'],
  [16, 'mov eax, 0x12345678', (a) => a.mov('eax', 0x12345678), '66b878563412'],
  [16, 'mov ax, [bx]', (a) => a.mov('ax', mem('bx')), '8b07'],
  [16, 'mov [bp+di+0x100], cl', (a) => a.mov(mem({ base: 'bp', index: 'di', displacement: 0x100 }), 'cl'), '888b0001'],
  [16, 'mov bx, [0x7c00]', (a) => a.mov('bx', mem(0x7c00)), '8b1e007c'],
  [16, 'mov ax, [ebx+ecx*2]', (a) => a.mov('ax', mem({ base: 'ebx', index: 'ecx', scale: 2 })), '678b044b'],
  [16, 'mov cr0, eax', (a) => a.mov('cr0', 'eax'), '0f22c0'],
  [16, 'mov ds, ax', (a) => a.mov('ds', 'ax'), '8ed8'],
  [16, 'lgdt [0x100]', (a) => a.lgdt(mem(0x100)), '0f01160001'],
  [16, 'jmp 0x8:0x1234', (a) => a.jmpFar(8, 0x1234), 'ea34120800'],
  [16, 'data32 ljmp 0x8:0x12345678', (a) => a.jmpFar(8, 0x12345678, 32), '66ea785634120800'],
  [16, 'push 0x1234', (a) => a.push(0x1234), '683412'],
  [16, 'push eax', (a) => a.push('eax'), '6650'],
  [16, 'call target', (a) => a.call('target'), 'e80400'],
  [16, '{disp16} jmp target', (a) => a.jmp('target'), 'e90400'],
  [16, '{disp16} jc target', (a) => a.jcc('c', 'target'), '0f820400'],
  [16, 'jcxz target', (a) => a.jrcxz('target'), 'e304'],
  [16, 'add word ptr es:[si], 5', (a) => a.add(word({ base: 'si', segment: 'es' }), 5), '26830405'],
  [16, 'iretw', (a) => a.iret(), 'cf'],
  [16, 'retf', (a) => a.retf(), 'cb'],
  [16, 'out dx, eax', (a) => a.out('dx', 'eax'), '66ef'],
  [16, 'rep stosw', (a) => a.rep().stos(16), 'f3ab'],
]

test.each(CASES)('%d-bit: %s', (bits, _, build, bytes) => {
  const assembler = new Assembler({ origin: ORIGIN, bits })
  build(assembler)
  const length = assembler.here - ORIGIN
  assembler.fill(4, 0x90).label('target')
  expect(assembler.assemble().subarray(0, length).toHex()).toBe(bytes)
})

describe('layout', () => {
  test('labels before and after, data, alignment', () => {
    const assembler = new Assembler({ origin: 0x1000, bits: 32 })
      .label('start')
      .jmp('end')
      .align(8)
      .label('table')
      .words(0x1234, -1)
      .dwords(ref('table'), ref('start', 4))
      .text('Hi')
      .at(0x1020, 0xcc)
      .label('end')
      .jmpShort('start')
    expect(assembler.addressOf('table')).toBe(0x1008)
    expect(assembler.assemble().toHex()).toBe(`e91b0000000000003412ffff08100000041000004869${'cc'.repeat(10)}ebde`)
  })

  test('from real mode to protected mode: the size of the code changes on the way', () => {
    const program = new Assembler({ origin: ORIGIN, bits: 16 })
      .lgdt(mem(ref('gdtr')))
      .mov('eax', 'cr0')
      .or('al', 1)
      .mov('cr0', 'eax')
      .jmpFar(8, ref('flat'), 32)
      .bits(32)
      .label('flat')
      .mov('eax', 0x10)
      .mov('ds', 'eax')
      .hlt()
      .label('gdtr')
      .words(0x17)
      .dwords(0x8000)
    expect(program.assemble().toHex()).toBe(
      '0f0116' +
        '1d7c' +
        '0f20c0' +
        '0c01' +
        '0f22c0' +
        '66ea' +
        '157c0000' +
        '0800' +
        'b810000000' +
        '8ed8' +
        'f4' +
        '1700' +
        '00800000',
    )
  })
})

describe('what cannot be encoded is refused', () => {
  const OPERAND = expect.objectContaining({ code: 'ERR_ASSEMBLER_OPERAND' })
  const LABEL = expect.objectContaining({ code: 'ERR_ASSEMBLER_LABEL' })
  const refused: [string, CodeBits, (a: Assembler) => unknown][] = [
    ['operands of different sizes', 64, (a) => a.mov('eax', 'bx')],
    ['operands without a size', 64, (a) => a.inc(mem('rax'))],
    ['two memory operands', 64, (a) => a.add(dword('rax'), dword('rbx'))],
    ['AH with REX', 64, (a) => a.mov('ah', 'r8b')],
    ['a 64-bit register in 32-bit code', 32, (a) => a.mov('rax', 1)],
    ['R8D in 32-bit code', 32, (a) => a.mov('r8d', 'eax')],
    ['SIL in 32-bit code', 32, (a) => a.mov('al', 'sil')],
    ['a 16-bit address in 64-bit code', 64, (a) => a.mov('al', mem('bx'))],
    ['RSP as an index', 64, (a) => a.mov('al', mem({ base: 'rax', index: 'rsp' }))],
    ['a 16-bit address that does not exist', 16, (a) => a.mov('al', mem({ base: 'bx', index: 'bp' }))],
    ['an immediate that is too large', 64, (a) => a.mov('al', 256)],
    ['an immediate that its sign would change', 64, (a) => a.add('rax', 0x8000_0000)],
    ['an address that its sign would change', 64, (a) => a.mov('al', mem(0xfee0_0000))],
    ['pushing CS in 64-bit code', 64, (a) => a.push('cs')],
    ['pushing 32 bits in 64-bit code', 64, (a) => a.push('eax')],
  ]
  test.each(refused)('%s', (_, bits, build) => {
    expect(() => build(new Assembler({ bits }))).toThrow(OPERAND)
  })

  test('labels that are missing, there twice, or out of reach', () => {
    expect(() => new Assembler().jmp('nowhere').assemble()).toThrow(LABEL)
    expect(() => new Assembler().label('a').label('a')).toThrow(LABEL)
    expect(() => new Assembler().jmpShort('far').fill(128).label('far').assemble()).toThrow(LABEL)
    expect(() => new Assembler({ origin: 0x1_0000, bits: 16 }).label('high').words(ref('high')).assemble()).toThrow(
      LABEL,
    )
    expect(() => new Assembler({ origin: 8 }).at(4)).toThrow(LABEL)
  })
})
