import { type Navigate, ProtectedRoute, useAuth } from "@josoor/auth/react";
import { type ComponentType, type ReactNode, Suspense, useEffect } from "react";
import { Route, Router, Switch, useLocation } from "wouter";
import { auth } from "./auth";
import { Boundary, later } from "./components/boundary";
import { Loading } from "./components/notice";
import { Page } from "./components/page";
import { at, config } from "./config";
import { remember, useI18n } from "./i18n";

// The user's menu brings it along: it is there also when the service is not.
const SignedOut = later(() => import("./pages/signed-out").then((page) => page.SignedOut));
const NotFound = later(() => import("./pages/refusals").then((page) => page.NotFound));
const Account = later(() => import("./account").then((page) => page.Account));
const Console = later(() => import("./console").then((page) => page.Console));

export function App() {
  return (
    <Router base={config.base}>
      <FollowUser />
      <Boundary>
        <Suspense
          fallback={
            <Page>
              <Loading />
            </Page>
          }
        >
          <Switch>
            <Route path="/signed-out" component={SignedOut} />
            <Route path="/account/*?">
              <Guarded page={Account} />
            </Route>
            <Route path="/console/*?">
              <Guarded page={Console} needs="admin" />
            </Route>
            <Route component={NotFound} />
          </Switch>
        </Suspense>
      </Boundary>
    </Router>
  );
}

/** Goes to a page that the server renders, once a sign-out that was pending has been sent. */
const leave: Navigate = (to) => {
  const { reason } = auth.state;
  const why = reason ? `&reason=${encodeURIComponent(reason)}` : "";
  void auth.ready().finally(() => location.replace(at(to.includes("?") ? to + why : to)));
};

/** A page for signed-in users, of at least the role that it needs. */
function Guarded({ page: Content, needs }: { page: ComponentType; needs?: "admin" }): ReactNode {
  const { reason, connectivity, status } = useAuth();
  const [, navigate] = useLocation();
  // After a sign-out, here or in another tab, the page says so; after the end of a session it asks for the sign-in.
  const hasLeft = reason === "signed_out" || reason === "signed_out_elsewhere" || reason === "account_deleted";
  return (
    <ProtectedRoute
      {...(needs ? { requiredRole: needs } : {})}
      signInPath={hasLeft ? "/signed-out" : "/login"}
      navigate={hasLeft ? navigate : leave}
      loading={
        <Page tools={null}>
          <Loading unreachable={status === "loading" ? connectivity : "online"} />
        </Page>
      }
    >
      <Content />
    </ProtectedRoute>
  );
}

/** The language is the user's, wherever they sign in; the cookie is for the pages before that. */
function FollowUser() {
  const { user } = useAuth();
  const { language, setLanguage } = useI18n();
  const locale = user?.locale;
  // biome-ignore lint/correctness/useExhaustiveDependencies: when the user's language changes, not when the page's does
  useEffect(() => {
    if (locale && locale !== language) setLanguage(locale);
    else if (locale) remember(locale);
  }, [locale]);
  return null;
}
