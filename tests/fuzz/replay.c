/*
 * Runs a fuzz harness over given inputs without libFuzzer: replay <file or folder>... A folder
 * that does not exist is an empty one. Two fixed inputs (nothing, and a kilobyte of noise) come
 * first, so that a harness without a corpus is exercised too.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    size_t size = 0;
    struct stat st;

    if (file == NULL || fstat(fileno(file), &st) != 0) {
        perror(path);
        return 1;
    }
    data = malloc((size_t)st.st_size > 0 ? (size_t)st.st_size : 1);
    size = fread(data, 1, (size_t)st.st_size, file);
    fclose(file);
    printf("%s: %zu bytes\n", path, size);
    fflush(stdout);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

static int replay_folder(const char *path, DIR *folder)
{
    int failed = 0;

    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char name[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        failed |= replay_file(name);
    }
    return failed;
}

static void replay_fixed(void)
{
    uint8_t noise[1024];
    uint32_t x = 1;

    for (size_t i = 0; i < sizeof(noise); i++) {
        x = x * 1664525 + 1013904223;
        noise[i] = (uint8_t)(x >> 24);
    }
    LLVMFuzzerTestOneInput(noise, 0);
    LLVMFuzzerTestOneInput(noise, sizeof(noise));
}

int main(int argc, char **argv)
{
    int failed = 0;

    replay_fixed();
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        struct stat st;
        if (folder != NULL) {
            failed |= replay_folder(argv[i], folder);
            closedir(folder);
        } else if (stat(argv[i], &st) == 0) {
            failed |= replay_file(argv[i]);
        }
    }
    return failed;
}
