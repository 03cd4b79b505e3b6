/* pieces NAME N: runs N operations of that piece, for who counts its instructions. */
#include "pieces.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    int index = argc == 3 ? pieces_prepare(argv[1]) : -1;

    if (index < 0) {
        fprintf(stderr, "pieces NAME N\n");
        for (unsigned i = 0; pieces_name(i) != NULL; i++)
            fprintf(stderr, "    %s\n", pieces_name(i));
        return 2;
    }
    pieces_run(index, (size_t)atoll(argv[2]));
    return 0;
}
