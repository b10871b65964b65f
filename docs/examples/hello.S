# A multiboot kernel: prints a line on the first serial port, and exits with code 21 * 2 + 1 = 43.

        .set    MAGIC, 0x1badb002
        .set    FLAGS, 0

        .text
        .align  4
        .long   MAGIC, FLAGS, -(MAGIC + FLAGS)
        .globl  _start
_start: mov     $message, %esi
        mov     $0x3f8, %dx             # COM1: the transmitter is always ready
1:      lodsb
        test    %al, %al
        jz      2f
        out     %al, %dx
        jmp     1b
2:      mov     $21, %al
        out     %al, $0xf4              # debug exit
3:      hlt
        jmp     3b

message:
        .asciz  "Hello from the bare machine.\n"
