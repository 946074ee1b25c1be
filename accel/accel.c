/* accel: the list of engines from accel/accels.def. */
#include "softmmu/accel.h"

#include <string.h>

#define ACCEL(n) extern const Accel n##_accel;
#include "accel/accels.def"
#undef ACCEL

static const Accel *const accels[] = {
#define ACCEL(n) &n##_accel,
#include "accel/accels.def"
#undef ACCEL
    NULL
};

const Accel *const *accel_list(void)
{
    return accels;
}

const Accel *accel_find(const char *name)
{
    for (const Accel *const *a = accels; *a; a++)
        if (!strcmp((*a)->name, name))
            return *a;
    return NULL;
}
