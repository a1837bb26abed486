/* squares.c - ten tasks fill ten slots of their own, so there is nothing to lock; one wait, then the sum. */
#include <stdio.h>

#include <waitgroup.h>

typedef struct slot {
    int number, square;
} slot;

static void square(void *arg) {
    slot *s = arg;
    s->square = s->number * s->number;
}

int main(void) {
    slot slots[10];
    wg_waitgroup wg = WG_INIT;
    for (int i = 0; i < 10; i++) {
        slots[i] = (slot){.number = i};
        wg_status status = wg_go(&wg, NULL, square, &slots[i], NULL);
        if (status != WG_OK) {
            fprintf(stderr, "squares: %s\n", wg_strstatus(status));
            wg_wait(&wg, NULL); /* the tasks that did start use our stack */
            return 1;
        }
    }
    wg_wait(&wg, NULL);

    int sum = 0;
    for (int i = 0; i < 10; i++)
        sum += slots[i].square;
    printf("%d\n", sum);
    return 0;
}
