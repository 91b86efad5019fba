import { ProtectedRoute, useAuth } from "@josoor/auth/react";
import { type ComponentType, type ReactNode, Suspense, useEffect } from "react";
import { Route, Router, Switch, useLocation } from "wouter";
import { Boundary, later } from "./components/boundary";
import { Loading } from "./components/notice";
import { Page } from "./components/page";
import { config } from "./config";
import { remember, useI18n } from "./i18n";
import { Login } from "./pages/login";

const Register = later(() => import("./pages/register").then((page) => page.Register));
const Forgot = later(() => import("./pages/forgot").then((page) => page.Forgot));
const Reset = later(() => import("./pages/reset").then((page) => page.Reset));
const Verify = later(() => import("./pages/verify").then((page) => page.Verify));
const Undo = later(() => import("./pages/undo").then((page) => page.Undo));
const Secure = later(() => import("./pages/secure").then((page) => page.Secure));
const Setup = later(() => import("./pages/setup").then((page) => page.Setup));
// The user's menu brings it along: it is there also when the service is not.
const SignedOut = later(() => import("./pages/signed-out").then((page) => page.SignedOut));
const Unauthorized = later(() => import("./pages/refusals").then((page) => page.Unauthorized));
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
            <Route path="/login" component={Login} />
            <Route path="/register" component={Register} />
            <Route path="/forgot-password" component={Forgot} />
            <Route path="/reset-password" component={Reset} />
            <Route path="/verify-email" component={Verify} />
            <Route path="/undo" component={Undo} />
            <Route path="/secure-account" component={Secure} />
            <Route path="/setup" component={Setup} />
            <Route path="/signed-out" component={SignedOut} />
            <Route path="/unauthorized" component={Unauthorized} />
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
      navigate={navigate}
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
