/* waits.c - see waits.h. */
#include "waits.h"

#include "waitqueue.h"

void wg_wait_publish(struct wg_wait_record *record, int64_t deadline) {
    struct wg_bucket *bucket = wg_bucket_of(record);
    record->since = wg_now();
    record->deadline = deadline;
    record->frame = wg_self()->frame;
    record->thread = wg_thread_id();
    wg_mutex_lock(&bucket->lock);
    wg_list_append(&bucket->waits, &record->link);
    wg_mutex_unlock(&bucket->lock);
}

/* In the child of a fork the list has forgotten it. */
void wg_wait_withdraw(struct wg_wait_record *record) {
    struct wg_bucket *bucket = wg_bucket_of(record);
    wg_mutex_lock(&bucket->lock);
    wg_list_remove(&record->link);
    wg_mutex_unlock(&bucket->lock);
}
