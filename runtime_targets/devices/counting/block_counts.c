/* A plugin of QEMU's user emulation (TCG plugin API version 1, qemu-user 6.0 to 8.x): how often each block of guest
 * code was run, where the block lies, and its instructions.
 *
 *   cc -O2 -shared -fPIC -o block_counts.so block_counts.c
 *   qemu-aarch64 -plugin ./block_counts.so,counts=FILE PROGRAM ...
 *
 * A block is what QEMU translates at once: instructions that run one after the other up to a branch. FILE gets one
 * JSON object when the program ends:
 *   {"images": ["", "/lib/libc.so.6", ...],
 *    "blocks": [[image, "address", runs, "machine code", ["ldr q0, [x1]", ...]], ...]}
 * `image` is the number of the file that the code was mapped from; 0 (""): none, as the code that a program loads by
 * itself (IREE's embedded ELFs). Machine code is 4 bytes (8 hexadecimal digits) an instruction. The same code may be
 * translated, and so be listed, more than once. Runs are added without atomic operations: of several threads that run
 * one block at one time some runs may be lost, so programs are to be counted on one thread.
 *
 * QEMU's headers are not needed: what is used of its interface is declared here.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* QEMU's side of the interface. */

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;
enum { INLINE_ADD_U64 = 0 };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
void *qemu_plugin_insn_haddr(const struct qemu_plugin_insn *insn);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
char *qemu_plugin_insn_disas(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_tb_trans_cb(
    qemu_plugin_id_t id, void (*translated)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int operation, void *counter, uint64_t value);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*ended)(qemu_plugin_id_t, void *), void *data);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

/* Images: the files that code was mapped from. */

enum { IMAGES = 512, MAPPINGS = 1024, PATH = 1024 };

struct mapping {
    uintptr_t begin, end;
    int image;
};

static char *images[IMAGES] = {""};
static int image_count = 1;
/* Mappings of files that were seen; code without a file is looked for again each time, for a program makes more. */
static struct mapping mappings[MAPPINGS];
static int mapping_count;

static int image_named(const char *path)
{
    for (int i = 0; i < image_count; i++) {
        if (strcmp(images[i], path) == 0) {
            return i;
        }
    }
    if (image_count == IMAGES) {
        return 0;
    }
    images[image_count] = strdup(path);
    return image_count++;
}

/* The image of the code at `address` of this process (the emulator's own address). */
static int image_at(uintptr_t address)
{
    for (int i = 0; i < mapping_count; i++) {
        if (address >= mappings[i].begin && address < mappings[i].end) {
            return mappings[i].image;
        }
    }
    FILE *maps = fopen("/proc/self/maps", "r");
    if (maps == NULL) {
        return 0;
    }
    char line[PATH + 128];
    int image = 0;
    while (fgets(line, sizeof line, maps) != NULL) {
        uintptr_t begin, end;
        char path[PATH] = "";
        int fields = sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %*s %1023[^\n]", &begin, &end, path);
        if (fields < 2 || address < begin || address >= end) {
            continue;
        }
        /* The system's names for memory without a file are in brackets. */
        if (path[0] == '/') {
            image = image_named(path);
            if (mapping_count < MAPPINGS) {
                mappings[mapping_count++] = (struct mapping){begin, end, image};
            }
        }
        break;
    }
    fclose(maps);
    return image;
}

/* Blocks. */

struct block {
    struct block *next;
    uint64_t runs;
    uint64_t address;
    int image;
    size_t length;
    struct instruction {
        uint32_t code;
        char *text;
    } instructions[];
};

static struct block *blocks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    size_t length = qemu_plugin_tb_n_insns(tb);
    struct block *block = calloc(1, sizeof *block + length * sizeof block->instructions[0]);
    if (block == NULL) {
        abort();
    }
    block->address = qemu_plugin_tb_vaddr(tb);
    block->length = length;
    for (size_t i = 0; i < length; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        memcpy(&block->instructions[i].code, qemu_plugin_insn_data(insn), sizeof(uint32_t));
        block->instructions[i].text = qemu_plugin_insn_disas(insn);
    }
    pthread_mutex_lock(&lock);
    block->image = image_at((uintptr_t)qemu_plugin_insn_haddr(qemu_plugin_tb_get_insn(tb, 0)));
    block->next = blocks;
    blocks = block;
    pthread_mutex_unlock(&lock);
    qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &block->runs, 1);
}

/* The result. */

static void write_string(FILE *file, const char *text)
{
    fputc('"', file);
    for (; text != NULL && *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20) {
            fputc(' ', file);
        } else if (c == '"' || c == '\\') {
            fprintf(file, "\\%c", c);
        } else {
            fputc(c, file);
        }
    }
    fputc('"', file);
}

static void write_block(FILE *file, const struct block *block)
{
    fprintf(file, "[%d, \"0x%" PRIx64 "\", %" PRIu64 ", \"", block->image, block->address, block->runs);
    for (size_t i = 0; i < block->length; i++) {
        fprintf(file, "%08" PRIx32, block->instructions[i].code);
    }
    fputs("\", [", file);
    for (size_t i = 0; i < block->length; i++) {
        fputs(i == 0 ? "" : ", ", file);
        write_string(file, block->instructions[i].text);
    }
    fputs("]]", file);
}

static void ended(qemu_plugin_id_t id, void *path)
{
    (void)id;
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        perror(path);
        return;
    }
    pthread_mutex_lock(&lock);
    fputs("{\"images\": [", file);
    for (int i = 0; i < image_count; i++) {
        fputs(i == 0 ? "" : ", ", file);
        write_string(file, images[i]);
    }
    fputs("],\n\"blocks\": [\n", file);
    const char *separator = "";
    for (const struct block *block = blocks; block != NULL; block = block->next) {
        if (block->runs > 0) {
            fputs(separator, file);
            write_block(file, block);
            separator = ",\n";
        }
    }
    fputs("\n]}\n", file);
    pthread_mutex_unlock(&lock);
    fclose(file);
}

__attribute__((visibility("default"))) int qemu_plugin_install(
    qemu_plugin_id_t id, const struct qemu_info *info, int count, char **arguments)
{
    (void)info;
    static const char option[] = "counts=";
    for (int i = 0; i < count; i++) {
        if (strncmp(arguments[i], option, strlen(option)) == 0) {
            qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
            qemu_plugin_register_atexit_cb(id, ended, strdup(arguments[i] + strlen(option)));
            return 0;
        }
    }
    fprintf(stderr, "block_counts: the option counts=FILE is missing\n");
    return 1;
}
