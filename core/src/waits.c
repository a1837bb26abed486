/* waits.c - see waits.h. */
#include "waits.h"

#include "deadlock.h"
#include "fork.h"
#include "waitqueue.h"

wg_status wg_wait_begin(struct wg_wait_record *record) {
    struct wg_bucket *bucket = wg_bucket_of(record);
    record->since = wg_now();
    record->thread = wg_thread_id();
    record->epoch = wg_fork_epoch();
    if (record->certain && !wg_deadlock_publish(record))
        return WG_DEADLOCK;
    wg_mutex_lock(&bucket->lock);
    wg_list_append(&bucket->waits, &record->link);
    wg_mutex_unlock(&bucket->lock);
    return WG_OK;
}

/* In the child of a fork the lists have forgotten it. */
void wg_wait_end(struct wg_wait_record *record) {
    struct wg_bucket *bucket = wg_bucket_of(record);
    wg_mutex_lock(&bucket->lock);
    wg_list_remove(&record->link);
    wg_mutex_unlock(&bucket->lock);
    if (record->certain)
        wg_deadlock_withdraw(record);
}

void wg_wait_pause(struct wg_wait_record *record) {
    if (record->certain)
        wg_deadlock_withdraw(record);
}

wg_status wg_wait_resume(struct wg_wait_record *record) {
    return record->certain && !wg_deadlock_publish(record) ? WG_DEADLOCK : WG_OK;
}
