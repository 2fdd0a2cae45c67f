/* From the reset of a 64-bit x86 processor to main, without any BIOS: protected mode, long mode, AVX-512.
 *
 * Sources: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3: 9.1.4 (first instruction), 9.8.5
 * (IA-32e mode), 13.5 (XSAVE-enabled features).
 */
#define TABLES 0x1000       /* of pages, in low memory: each address stands for itself */
#define STACK 0xF000000
#define BLOCK 0x20000

    .section .reset, "ax"   /* the last 16 bytes below 4 GiB */
    .code16
    .byte 0xE9              /* jump to offset 0 of this segment of 64 KiB */
    .word 0x10000 - 0xFFF3

    .section .rom, "ax"
real:
    cli
    lgdtl %cs:(descriptors - real)
    mov %cr0, %eax
    or $1, %eax             /* protected mode */
    mov %eax, %cr0
    ljmpl $0x08, $protected

    .code32
protected:
    mov $0x18, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $program_begin, %esi /* Bochs gives memory in blocks in the order of their first use: as the program lies */
1:  movb (%esi), %al
    add $BLOCK, %esi
    cmp $program_end, %esi
    jb 1b
    xor %eax, %eax          /* two tables of pages, empty: memory holds anything at a reset */
    mov $TABLES, %edi
    mov $0x800, %ecx
    rep stosl
    mov $TABLES, %edi       /* one entry of the first, then four pages of 1 GiB: present, writable, large */
    movl $TABLES + 0x1003, (%edi)
    movl $0x00000083, 0x1000(%edi)
    movl $0x40000083, 0x1008(%edi)
    movl $0x80000083, 0x1010(%edi)
    movl $0xC0000083, 0x1018(%edi)
    mov %edi, %cr3
    mov $0x40620, %eax      /* PAE, OSFXSR, OSXMMEXCPT, OSXSAVE */
    mov %eax, %cr4
    mov $0xC0000080, %ecx   /* EFER: long mode */
    rdmsr
    or $0x100, %eax
    wrmsr
    mov $0x80010033, %eax   /* paging, and a floating-point unit */
    mov %eax, %cr0
    ljmp $0x10, $long

    .code64
long:
    xor %ecx, %ecx
    xor %edx, %edx
    mov $0xE7, %eax         /* x87, SSE, AVX, and of AVX-512 masks and registers */
    xsetbv
    mov $STACK, %rsp
    movabs $start, %rax
    call *%rax

    .balign 8
table:
    .quad 0
    .quad 0x00CF9A000000FFFF /* code of 32 bits */
    .quad 0x00AF9A000000FFFF /* code of 64 bits */
    .quad 0x00CF92000000FFFF /* data */
descriptors:
    .word . - table - 1
    .long table

    .section .rodata, "a"
    .balign 64
    .globl input_begin, input_end
input_begin:
    .incbin "input.bin"
input_end:
    .section .note.GNU-stack, "", %progbits
