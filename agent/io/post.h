/* How what carries out effects tells the node what came of them. */
#ifndef COVEY_IO_POST_H
#define COVEY_IO_POST_H

struct node_event;

/* Loop's thread only. May be called while an effect is being carried out: the event is copied, with
 * the instance and reason that it borrows, and takes its turn. Its wall time is filled in. */
struct post {
    void (*event)(void *context, const struct node_event *event);
    void *context;
};

#endif
