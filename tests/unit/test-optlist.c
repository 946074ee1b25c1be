/* test-optlist: QEMU's option grammar, value forms and suggestions. */
#include "util/optlist.h"

static void doubled_comma_is_one_comma(void)
{
    g_autoptr(OptList) l = optlist_parse("file=a,,b.img,if=none", NULL, NULL);

    g_assert_cmpstr(optlist_str(l, "file", NULL), ==, "a,b.img");
    g_assert_cmpstr(optlist_str(l, "if", NULL), ==, "none");
}

static void first_item_takes_implied_key(void)
{
    g_autoptr(OptList) l = optlist_parse("user,id=n0,hostfwd=tcp::1-:1,hostfwd=tcp::2-:2", "type", NULL);
    g_autofree const char **all = optlist_all(l, "hostfwd");

    g_assert_cmpstr(optlist_str(l, "type", NULL), ==, "user");
    g_assert_cmpstr(all[1], ==, "tcp::2-:2");
    g_assert_null(all[2]);
}

static void bare_words_are_booleans(void)
{
    g_autoptr(OptList) l = optlist_parse("a=b,server,nowait", NULL, NULL);
    bool v;

    g_assert_true(optlist_bool(l, "server", false, &v, NULL) && v);
    g_assert_true(optlist_bool(l, "wait", true, &v, NULL) && !v);
    g_assert_true(optlist_has(l, "a"));
    g_assert_true(optlist_check_unused(l, NULL));
}

static void unknown_key_names_nearest(void)
{
    g_autoptr(OptList) l = optlist_parse("hostfw=x", NULL, NULL);
    g_autoptr(GError) err = NULL;

    g_assert_null(optlist_str(l, "hostfwd", NULL));
    g_assert_false(optlist_check_unused(l, &err));
    g_assert_cmpstr(err->message, ==, "unknown option 'hostfw' (did you mean 'hostfwd'?)");
}

static void json_nests_into_dotted_keys(void)
{
    g_autoptr(OptList) l = optlist_parse("{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"x\":[1,true]}}", NULL, NULL);

    g_assert_cmpstr(optlist_str(l, "file.driver", NULL), ==, "file");
    g_assert_cmpstr(optlist_str(l, "file.x.0", NULL), ==, "1");
    g_assert_cmpstr(optlist_str(l, "file.x.1", NULL), ==, "on");
}

static void sizes_take_suffixes_and_refuse_nonsense(void)
{
    uint64_t v;

    g_assert_true(parse_size_text("2G", 1, &v, NULL) && v == 2ULL << 30);
    g_assert_true(parse_size_text("1.5k", 1, &v, NULL) && v == 1536);
    g_assert_true(parse_size_text("128", 1 << 20, &v, NULL) && v == 128ULL << 20);
    g_assert_false(parse_size_text("-1", 1, &v, NULL));
    g_assert_false(parse_size_text("12X", 1, &v, NULL));
    g_assert_false(parse_size_text("99999999999G", 1, &v, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/optlist/doubled_comma_is_one_comma", doubled_comma_is_one_comma);
    g_test_add_func("/optlist/first_item_takes_implied_key", first_item_takes_implied_key);
    g_test_add_func("/optlist/bare_words_are_booleans", bare_words_are_booleans);
    g_test_add_func("/optlist/unknown_key_names_nearest", unknown_key_names_nearest);
    g_test_add_func("/optlist/json_nests_into_dotted_keys", json_nests_into_dotted_keys);
    g_test_add_func("/optlist/sizes_take_suffixes_and_refuse_nonsense", sizes_take_suffixes_and_refuse_nonsense);
    return g_test_run();
}
