/* Lists the sections, networks and tensors of a model file (model_file.md): cc -o read_bmodel read_bmodel.c */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static const char *end;                                           /* of the JSON that is read */
static unsigned long long model[2];                               /* where model.json begins and ends in the sections */
typedef void Visit(const char *path, const char *text, int size); /* a number or text of JSON, and where it stands */
static void fail(const char *why) { fprintf(stderr, "read_bmodel: %s\n", why), exit(2); }
static const char *there(const char *at) { return at < end ? at : (fail("the JSON is cut off"), at); }
static const char *skip(const char *at) { for (; *there(at) == ' ' || *at == '\n'; at++); return at; }
static const char *after_text(const char *at) { for (at++; *there(at) != '"'; at++) at += *at == '\\'; return at + 1; }
static const char *walk(const char *at, const char *path, int depth, Visit *visit) { /* returns what is behind it */
    const char *from = at = skip(at), *name = "";
    char deeper[8192], close = *at == '{' ? '}' : ']';
    if (*at != '{' && *at != '[') {
        at = *at == '"' ? after_text(at) : at + 1;
        while (*from != '"' && !strchr(",]} ", *there(at))) at++;
        return visit(path, from, (int)(at - from)), at;
    }
    if (depth > 16) fail("the JSON nests too deeply");
    at = skip(at + 1);
    for (int index = 0; *at != close; index++) {
        if (close == '}') at = after_text(name = at);
        if (close == '}') snprintf(deeper, sizeof deeper, "%s/%.*s", path, (int)(at - name) - 2, name + 1);
        else snprintf(deeper, sizeof deeper, "%s/%d", path, index);
        at = skip(walk(close == '}' ? skip(at) + 1 : at, deeper, depth + 1, visit)); /* + 1: the colon */
        if (*at != close && *at++ != ',') fail("the JSON is malformed");
    }
    return at + 1;
}
static void section(const char *path, const char *text, int size) {
    const char *place = strstr(path, "/data_offsets/");
    if (place && place[14] == '0') printf("section %.*s: bytes %.*s", (int)(place - path) - 2, path + 2, size, text);
    if (place && place[14] == '1') printf(" to %.*s\n", size, text);
    if (place && !strncmp(path, "//model.json/data", 17)) model[place[14] == '1'] = strtoull(text, NULL, 10);
}
static void description(const char *path, const char *text, int size) { /* names are sorted: name, shape, type */
    const char *field = strrchr(path, '/'), *tensor = strstr(path, "/tensors/");
    if (!strcmp(field, "/type") || strstr(path, "/shape/")) printf(tensor ? " %.*s" : "", size, text);
    if (strcmp(field, "/name") || (!tensor && strstr(path, "/stages/"))) return;
    printf("%s %.*s", tensor ? "\n  tensor" : "\nnetwork", size, text);
}
int main(int count, char **words) {
    FILE *file = count == 2 ? fopen(words[1], "rb") : NULL;
    if (!file || fseek(file, 0, SEEK_END)) fail("usage: read_bmodel X.bmodel");
    unsigned long long length = 0, held = (unsigned long long)ftell(file);
    char *bytes = malloc(held + 1);
    if (!bytes || fseek(file, 0, SEEK_SET) || fread(bytes, 1, held, file) != held) fail("the file cannot be read");
    for (int i = held < 8 ? 0 : 8; i--;) length = length << 8 | (unsigned char)bytes[i];
    if (held < 8 || length > held - 8) fail("the header is cut off");
    end = bytes + 8 + length;
    walk(bytes + 8, "/", 0, section);
    if (model[0] > model[1] || model[1] > held - 8 - length) fail("model.json is cut off");
    end = bytes + 8 + length + model[1];
    if (model[1]) walk(bytes + 8 + length + model[0], "/", 0, description);
    return printf("\n"), free(bytes), fclose(file);
}
