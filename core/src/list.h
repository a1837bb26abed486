/* list.h - doubly linked lists through their members: to add and to remove one takes no memory and no search.
 *
 * A member has a `struct wg_link` in it; so has the owner of a list, as its head. Zeroed, a link is a member of no list and
 * a head is an empty list. A member may be removed without knowing the list that it is in. */
#ifndef WG_LIST_H
#define WG_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "waitgroup/observer.h" /* struct wg_link, which is part of an observer's memory */

/* The member of which this is the link; NULL of NULL. */
#define WG_MEMBER(link, type, field) ((type *)wg_member_at((link), offsetof(type, field)))
static inline void *wg_member_at(struct wg_link *link, size_t offset) { return link ? (char *)link - offset : NULL; }

static inline bool wg_is_linked(const struct wg_link *link) { return link->next_ != NULL; }

/* The first member; the one after `link`. NULL if there is none. */
static inline struct wg_link *wg_list_after(const struct wg_link *head, const struct wg_link *link) {
    return link->next_ == head ? NULL : link->next_;
}
static inline struct wg_link *wg_list_first(const struct wg_link *head) { return wg_list_after(head, head); }

/* Behind all others. */
static inline void wg_list_append(struct wg_link *head, struct wg_link *link) {
    if (!head->next_)
        head->next_ = head->prev_ = head;
    link->next_ = head;
    link->prev_ = head->prev_;
    link->prev_->next_ = head->prev_ = link;
}

/* False if it is in no list. */
static inline bool wg_list_remove(struct wg_link *link) {
    if (!wg_is_linked(link))
        return false;
    link->prev_->next_ = link->next_;
    link->next_->prev_ = link->prev_;
    link->next_ = link->prev_ = NULL;
    return true;
}

#endif
