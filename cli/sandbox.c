/*
 * sandbox: -sandbox refuses system calls a machine never needs, for all threads, from the guest's start on.
 *
 * A guest that breaks out of a device model then cannot use them; they fail with EPERM. Groups as
 * QEMU names them: obsolete, elevateprivileges, spawn, resourcecontrol. seccomp(2).
 */
#include "cli/cli.h"

#if HAVE_SECCOMP
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>

enum { ALWAYS = 1 << 0, OBSOLETE = 1 << 1, PRIVILEGES = 1 << 2, SPAWN = 1 << 3, RESOURCES = 1 << 4 };

static const struct { unsigned group; int call; } refused[] = {
    { ALWAYS, SCMP_SYS(reboot) }, { ALWAYS, SCMP_SYS(swapon) }, { ALWAYS, SCMP_SYS(swapoff) },
    { ALWAYS, SCMP_SYS(syslog) }, { ALWAYS, SCMP_SYS(mount) }, { ALWAYS, SCMP_SYS(umount2) },
    { ALWAYS, SCMP_SYS(pivot_root) }, { ALWAYS, SCMP_SYS(kexec_load) }, { ALWAYS, SCMP_SYS(kexec_file_load) },
    { ALWAYS, SCMP_SYS(init_module) }, { ALWAYS, SCMP_SYS(finit_module) }, { ALWAYS, SCMP_SYS(delete_module) },
    { ALWAYS, SCMP_SYS(acct) }, { ALWAYS, SCMP_SYS(quotactl) }, { ALWAYS, SCMP_SYS(add_key) },
    { ALWAYS, SCMP_SYS(request_key) }, { ALWAYS, SCMP_SYS(keyctl) }, { ALWAYS, SCMP_SYS(bpf) },
    { ALWAYS, SCMP_SYS(ptrace) }, { ALWAYS, SCMP_SYS(process_vm_writev) }, { ALWAYS, SCMP_SYS(settimeofday) },
    { ALWAYS, SCMP_SYS(clock_settime) }, { ALWAYS, SCMP_SYS(setns) }, { ALWAYS, SCMP_SYS(unshare) },
    { OBSOLETE, SCMP_SYS(uselib) }, { OBSOLETE, SCMP_SYS(_sysctl) }, { OBSOLETE, SCMP_SYS(ustat) },
    { OBSOLETE, SCMP_SYS(sysfs) }, { OBSOLETE, SCMP_SYS(create_module) }, { OBSOLETE, SCMP_SYS(get_kernel_syms) },
    { OBSOLETE, SCMP_SYS(query_module) }, { OBSOLETE, SCMP_SYS(modify_ldt) }, { OBSOLETE, SCMP_SYS(remap_file_pages) },
    { PRIVILEGES, SCMP_SYS(setuid) }, { PRIVILEGES, SCMP_SYS(setgid) }, { PRIVILEGES, SCMP_SYS(setreuid) },
    { PRIVILEGES, SCMP_SYS(setregid) }, { PRIVILEGES, SCMP_SYS(setresuid) }, { PRIVILEGES, SCMP_SYS(setresgid) },
    { PRIVILEGES, SCMP_SYS(setfsuid) }, { PRIVILEGES, SCMP_SYS(setfsgid) }, { PRIVILEGES, SCMP_SYS(setgroups) },
    { SPAWN, SCMP_SYS(fork) }, { SPAWN, SCMP_SYS(vfork) }, { SPAWN, SCMP_SYS(execve) }, { SPAWN, SCMP_SYS(execveat) },
    { RESOURCES, SCMP_SYS(setpriority) }, { RESOURCES, SCMP_SYS(sched_setparam) },
    { RESOURCES, SCMP_SYS(sched_setscheduler) }, { RESOURCES, SCMP_SYS(sched_setaffinity) },
    { RESOURCES, SCMP_SYS(ioprio_set) },
};

static bool deny(OptList *l, const char *key, const char *def, const char *more, unsigned bit, unsigned *groups,
                 bool *children, GError **err)
{
    const char *v = optlist_str(l, key, def);

    *children = false;
    if (!strcmp(v, "deny"))
        *groups |= bit;
    else if (more && !strcmp(v, more))
        *children = true;
    else if (strcmp(v, "allow"))
        return err_set(err, "%s=%s: it is allow or deny%s%s", key, v, more ? " or " : "", more ? more : "");
    return true;
}

static bool parse(const char *text, unsigned *groups, bool *no_new, GError **err)
{
    g_autoptr(OptList) l = optlist_parse(text, "enable", err);
    bool on, unused;

    *groups = 0;
    if (!l || !optlist_bool(l, "enable", true, &on, err))
        return false;
    if (!deny(l, "obsolete", "deny", NULL, OBSOLETE, groups, &unused, err) ||
        !deny(l, "spawn", "allow", NULL, SPAWN, groups, &unused, err) ||
        !deny(l, "resourcecontrol", "allow", NULL, RESOURCES, groups, &unused, err) ||
        !deny(l, "elevateprivileges", "allow", "children", PRIVILEGES, groups, no_new, err))
        return false;
    *no_new |= !!(*groups & PRIVILEGES);
    *groups = on ? *groups | ALWAYS : 0;
    return optlist_check_unused(l, err);
}

static int add_rules(scmp_filter_ctx f, unsigned groups)
{
    int rc = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(refused) && rc >= 0; i++)
        if (groups & refused[i].group)
            rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), refused[i].call, 0);
    if (rc < 0 || !(groups & SPAWN))
        return rc;
    /* Threads, but no processes; clone3 hides its flags in memory: libc falls back to clone. */
    rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (rc >= 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    return rc;
}

bool cli_sandbox(const char *text, bool install, GError **err)
{
    scmp_filter_ctx f;
    unsigned groups;
    bool no_new = false;
    int rc;

    if (!text || !parse(text, &groups, &no_new, err))
        return !text;
    if (!install || !groups)
        return true;
    f = seccomp_init(SCMP_ACT_ALLOW);
    if (!f)
        return err_set(err, "no memory for the system call filter");
    if (no_new && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        rc = -errno;
    else
        rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
    if (rc >= 0)
        rc = add_rules(f, groups);
    if (rc >= 0)
        rc = seccomp_load(f);
    seccomp_release(f);
    return rc >= 0 || err_set_errno(err, -rc, "system call filter");
}
#else
bool cli_sandbox(const char *text, bool install, GError **err)
{
    return !text || g_str_has_prefix(text, "off") ||
           err_set(err, "this build has no system call filter (libseccomp-dev was missing)");
}
#endif
